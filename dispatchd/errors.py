"""What can go wrong, split by what the catcher does next.

Foreign exceptions are translated into these once, at the edge that owns the library. Messages are
lower case, "cannot X: Y", with the value named; advice goes into ``hint``.
"""

from datetime import datetime


class DispatchError(Exception):
    """Anything dispatchd says no to. ``str()`` is the message; ``hint`` is the remedy, or empty."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    @property
    def told(self) -> str:
        """The message and its remedy in one line."""
        return f"{self} ({self.hint})" if self.hint else str(self)


class ConfigError(DispatchError):
    """The settings are wrong: fix them and start again (exit status 78)."""


class BadRequest(DispatchError):
    """The caller's words are wrong: say them differently."""


class NotFound(DispatchError):
    """What was named is not here."""


class Conflict(DispatchError):
    """What was asked does not fit the present state."""


class Stale(Conflict):
    """A row is no longer what the writer believed: read again and decide again."""


class StoreError(DispatchError):
    """The database cannot be read or written now: nothing was changed."""


class NoRoom(StoreError):
    """The cache has no room for it now: it goes on by itself when there is."""


class Unavailable(DispatchError):
    """The other side cannot answer now: try again, not before ``retry_at`` where it is known.

    ``ambiguous``: the request may have been carried out all the same, so look before repeating it.
    ``limited``: it wants to hear nothing at all from us until then.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        retry_at: datetime | None = None,
        ambiguous: bool = False,
        limited: bool = False,
    ) -> None:
        super().__init__(message, hint=hint)
        self.retry_at = retry_at
        self.ambiguous = ambiguous
        self.limited = limited


class Refused(DispatchError):
    """The other side said no for good.

    ``field`` names the part of the request that it objects to, where it says so.
    """

    def __init__(self, message: str, *, hint: str = "", field: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.field = field


class Unauthorized(Refused):
    """The other side does not accept who we are, or what we may do: a person must act."""


class Forbidden(Unauthorized):
    """We are known and may not do just this: a person must act, though other requests may pass."""


class Gone(Refused):
    """What was there is no longer there, or never was for this token (404, 410)."""


class Corrupt(Refused):
    """The bytes are not those that were announced."""
