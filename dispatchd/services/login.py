"""Logging in to GitHub: a new token, and what it lets go."""

from collections.abc import Callable

from dispatchd import wire
from dispatchd.domain.event import Kind
from dispatchd.errors import DispatchError, Forbidden, Unauthorized
from dispatchd.services.clock import Clock
from dispatchd.services.github import GitHub, Token
from dispatchd.services.outbox import Outbox
from dispatchd.services.sources import OF_AN_APP
from dispatchd.services.token import TokenStore
from dispatchd.store.store import Store


class Login:
    """Takes a token that a person gives. ``client`` makes one of GitHub's that uses it."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        tokens: TokenStore,
        outbox: Outbox,
        *,
        client: Callable[[Token], GitHub],
    ) -> None:
        self._store = store
        self._clock = clock
        self._tokens = tokens
        self._outbox = outbox
        self._client = client

    def log_in(self, token: str, *, by: str) -> wire.TokenAnswer:
        """Store the token, let what was held leave, and say whose it is.

        One that GitHub does not accept is refused. Where GitHub cannot be asked it may be right.
        """
        answer = self._try(self._tokens.offered(token))
        self._tokens.store(token)
        with self._store.writing() as tx:
            tx.tell(Kind.LOGGED_IN, "a new GitHub token is stored", at=self._clock.now(), by=by)
        self._outbox.release_held()
        return answer

    def _try(self, token: Token) -> wire.TokenAnswer:
        with self._client(token) as github:
            try:
                login = github.login()
            except DispatchError as error:
                if isinstance(error, Unauthorized) and not isinstance(error, Forbidden):
                    raise Unauthorized(
                        "cannot log in: GitHub does not accept the token (401): "
                        "it is mistyped, expired or revoked; it is not stored",
                        hint="create one with Issues: read and write, Contents: read",
                    ) from error
                return wire.TokenAnswer(login=None, warning=f"stored, but not proved: {error.told}")
        return wire.TokenAnswer(login=login, warning=None if login else f"stored: {OF_AN_APP}")
