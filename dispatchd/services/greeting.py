"""What the log says at the start: where we listen, what is queued, and whence the token is."""

import logging
from collections.abc import Sequence

from dispatchd.domain.model import Delivery
from dispatchd.services.github import Token
from dispatchd.settings import Settings
from dispatchd.store.store import Store
from dispatchd.wire import counted

log = logging.getLogger(__name__)


def greet(
    settings: Settings, store: Store, *, urls: Sequence[str], socket: str, token: Token | None
) -> None:
    """One line for each. ``urls`` are the boot URLs, ``socket`` the control socket's path."""
    log.info("settings from %s", settings.source or "the defaults")
    log.info("state in %s, cache in %s", settings.state_dir, settings.cache_dir)
    for url in urls:
        log.info("boot URL for the firmware: %s", url)
    log.info("control socket: %s", socket)
    log.info("GitHub: %s", token or "no token yet (dispatchctl login): reports wait here")
    with store.reading() as tx:
        waiting = tx.outbox.count(Delivery.PENDING) + tx.outbox.count(Delivery.HELD)
        releases = ", ".join(release.name for release in tx.releases.loaded())
    reports = counted(waiting, "report")
    log.info("queue: %s; %s to deliver", releases or "nothing loaded", reports)
