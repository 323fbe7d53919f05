"""Logging in to GitHub: a new token, and what it lets go."""

from dispatchd import wire
from dispatchd.domain.event import Kind
from dispatchd.errors import DispatchError
from dispatchd.services.clock import Clock
from dispatchd.services.github import GitHub
from dispatchd.services.outbox import Outbox
from dispatchd.services.token import TokenStore
from dispatchd.store.store import Store


class Login:
    """Takes a token that a person gives."""

    def __init__(
        self, store: Store, clock: Clock, tokens: TokenStore, outbox: Outbox, github: GitHub
    ) -> None:
        self._store = store
        self._clock = clock
        self._tokens = tokens
        self._outbox = outbox
        self._github = github

    def log_in(self, token: str, *, by: str) -> wire.TokenAnswer:
        """Store the token, let what was held leave, and say whose it is."""
        self._tokens.store(token)
        with self._store.writing() as tx:
            tx.tell(Kind.LOGGED_IN, "a new GitHub token is stored", at=self._clock.now(), by=by)
        self._outbox.release_held()
        try:
            return wire.TokenAnswer(login=self._github.login())
        except DispatchError as error:
            said = f"{error} ({error.hint})" if error.hint else str(error)
            return wire.TokenAnswer(login=None, warning=f"stored, but not tried: {said}")
