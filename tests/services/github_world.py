"""A client and the stand-in it talks to, as the tests of the client start them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from dispatchd.services.github import GitHub, Token
from tests.github_standin import GitHubStandIn
from tests.github_standin.world import Repository

NOW = datetime(2026, 11, 23, 7, 0, tzinfo=UTC)
SECRET = "ghp_" + "a1B2" * 9
REPO = ("AMDEPYC", "sev-certify")


@dataclass(kw_only=True)
class Lab:
    """``token`` is what the client finds when it looks for one."""

    standin: GitHubStandIn
    repository: Repository
    now: Callable[[], datetime]
    github: GitHub = field(init=False)
    token: Token | None = field(default_factory=lambda: Token(value=SECRET, source="login"))

    def publish(self, *names: str, size: int) -> None:
        """Put a release devel there with these assets: each its first letter, again and again."""
        release = self.repository.release("devel")
        for name in names:
            release.asset(name, name[:1].encode() * size)

    def client(
        self, *, api_url: str = "", proxy: str = "", timeout: tuple[float, float] = (10.0, 10.0)
    ) -> GitHub:
        return GitHub(
            api_url=api_url or self.standin.api_url,
            token=lambda: self.token,
            proxy=proxy,
            ca_bundle="",
            version="1.0.0",
            now=self.now,
            timeout=timeout,
        )


@contextmanager
def running_lab(now: Callable[[], datetime] = lambda: NOW) -> Iterator[Lab]:
    """A public repository, a token that may push, and proof afterwards that both spoke properly."""
    with GitHubStandIn(now=now) as standin:
        standin.token(SECRET)
        lab = Lab(standin=standin, repository=standin.repository("/".join(REPO)), now=now)
        lab.github = lab.client()
        with lab.github:
            yield lab
    assert standin.violations == []
    assert standin.faults.left == 0
    assert not [one for one in standin.requests if one.port == "store" and SECRET in str(one)]
