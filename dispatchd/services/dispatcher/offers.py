"""What is handed out: an offer, and the firmware programs that stand in for a workload."""

from dataclasses import dataclass
from typing import Protocol


class Program(Protocol):
    """A firmware program, ready to be served."""

    @property
    def name(self) -> str: ...
    @property
    def body(self) -> bytes: ...
    @property
    def sha256(self) -> str: ...
    @property
    def media_type(self) -> str: ...


class Programs(Protocol):
    """What is handed out when no workload is."""

    def poweroff(self, text: str) -> Program: ...
    def wait(self, text: str, *, seconds: int) -> Program: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Offer:
    """What to answer. With status 200 either ``body``, or the asset's bytes in the cache.

    ``handed`` names it for people; ``machine_id`` is None for a machine that is not known.
    """

    status: int
    handed: str
    machine_id: int | None = None
    attempt_id: int | None = None
    body: bytes = b""
    sha256: str = ""
    size: int = 0
    media_type: str = ""


def offer_program(program: Program) -> Offer:
    """Hand out a firmware program."""
    return Offer(
        status=200,
        handed=program.name,
        body=program.body,
        sha256=program.sha256,
        size=len(program.body),
        media_type=program.media_type,
    )
