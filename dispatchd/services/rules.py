"""What the settings come to while dispatchd runs, and what changes when they are read again."""

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Self

from dispatchd.domain.lifecycle import Deadlines
from dispatchd.services.dispatcher.unit import Policy
from dispatchd.services.programs import Programs
from dispatchd.settings import Settings


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """The settings, and what is made of them once: the queue's policy, the firmware programs, and
    the networks whose machines are served (none: all).
    """

    settings: Settings
    policy: Policy
    programs: Programs
    allow: tuple[IPv4Network | IPv6Network, ...]

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Reads the operator's own programs; raises ConfigError where one cannot be served."""
        deadlines = {name: float(getattr(settings.deadlines, name)) for name in Deadlines.__slots__}
        return cls(
            settings=settings,
            policy=Policy(
                deadlines=Deadlines(**deadlines),
                idle=settings.queue.idle,
                max_tries=settings.queue.attempts,
                only_known=settings.boot.machines == "known",
                report_failures=settings.reports.failures,
            ),
            programs=Programs.load(poweroff=settings.poweroff, wait=settings.wait),
            allow=tuple(settings.boot.networks()),
        )
