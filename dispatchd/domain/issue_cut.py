"""Cutting a text that is too long for one issue: its head and tail stay together, the middle
follows in pieces. Code fences are closed at every cut and opened again after it.
"""

from dataclasses import dataclass

#: Pieces at most: each becomes a comment, and a comment is a mail to everyone who watches.
MOST_PIECES = 10
#: How far from a cut the end of a line is looked for, in characters.
_NEAR = 2000
#: Kept free for what is said at a cut and for two fences.
_SEAM = 512
_LONGEST_FENCE = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Cut:
    """``body`` is head and tail with a line between them, ``rest`` the pieces of the middle."""

    body: str
    rest: tuple[str, ...] = ()


def cut(text: str, room: int, *, whole: str) -> Cut:
    """Cut a text so that no part is longer than ``room`` characters.

    ``whole`` is the command that shows all of it: what more than ``MOST_PIECES`` would take is
    left out, and that is said.
    """
    if len(text) + _SEAM <= room:
        return Cut(body=_closed(text, ""))
    keep = room - _SEAM
    start = _line_end(text, keep * 2 // 3)
    end = _line_start(text, len(text) - (keep - start))
    pieces: list[str] = []
    at, fence = start, open_fence(text[:start])
    while at < end and len(pieces) < MOST_PIECES:
        stop = _line_end(text, at + keep) if at + keep < end else end
        piece = text[at:stop]
        pieces.append(_closed(piece, fence))
        fence = open_fence(piece, fence)
        at = stop
    left_out = end - at
    said = f"{end - start} characters are in {len(pieces)} comments below"
    if left_out:
        said += f", but for {left_out} left out: {whole} has all"
        fence = open_fence(text[at:end], fence)
    body = f"{_closed(text[:start], '')}\n\n*[… {said} …]*\n\n{_closed(text[end:], fence)}"
    return Cut(body=body, rest=tuple(pieces))


def _line_end(text: str, at: int) -> int:
    """The end of a line shortly before ``at``, or just there."""
    return text.rfind("\n", max(at - _NEAR, 0), at) + 1 or at


def _line_start(text: str, at: int) -> int:
    """The start of a line shortly after ``at``, or just there."""
    return text.find("\n", at, at + _NEAR) + 1 or at


def _closed(text: str, fence: str) -> str:
    """The text inside the fence that is open before it, and no fence open after it."""
    left = open_fence(text, fence)
    opening = f"{fence}\n" if fence else ""
    closing = f"{'' if text.endswith(chr(10)) else chr(10)}{left}" if left else ""
    return opening + text + closing


def open_fence(text: str, fence: str = "") -> str:
    """The code fence that is open after the text, or empty (CommonMark 0.31, section 4.5).

    ``fence`` is the one open before it.
    """
    for line in text.split("\n"):
        bare = line.lstrip(" ")
        if len(line) - len(bare) > 3 or bare[:3] not in ("```", "~~~"):
            continue
        mark = bare[0]
        rest = bare.lstrip(mark)
        length = len(bare) - len(rest)
        if fence:
            if fence[0] == mark and length >= len(fence) and not rest.strip():
                fence = ""
        elif length <= _LONGEST_FENCE and not (mark == "`" and "`" in rest):
            fence = mark * length
    return fence
