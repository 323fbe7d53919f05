"""Making foreign text fit to be published: what a machine prints goes to a public issue.

A token that appears in a public repository is revoked by GitHub, and anyone may use it until then.
"""

import re

REMOVED = "[token removed]"
#: GitHub's own token formats; an installation token may go on after a dot with a signed part.
_TOKENS = re.compile(
    r"(?:gh[pousr]_|github_pat_)[A-Za-z0-9_]{16,}(?:\.[A-Za-z0-9_-]{16,})*", re.ASCII
)
#: What a terminal takes as commands (ECMA-48): colours, cursor moves, window titles.
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b\n]*(?:\x07|\x1b\\)?)")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def scrub(text: str, token: str | None) -> str:
    """Return the text without anything like a token, terminal commands and control characters.

    ``token`` is the one in use: it goes whatever it looks like. Newlines and tabs stay.
    """
    # Characters first: a token must not hide behind one that is taken out afterwards.
    return redact(_CONTROLS.sub("", _ESCAPES.sub("", text)), token)


def redact(text: str, token: str | None) -> str:
    """Return the text without anything like a token, and otherwise as it is."""
    return _TOKENS.sub(REMOVED, text.replace(token, REMOVED) if token else text)


def on_one_line(text: str) -> str:
    """The text as a line of a table or a log can hold it."""
    return " ".join(scrub(text, None).split())
