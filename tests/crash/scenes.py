"""The instants to die at, each with what everybody does in that life so that it is reached."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dispatchd.domain.event import Kind
from tests.crash.machines import Machine
from tests.crash.operator import Operator
from tests.crash.weather import Weather


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What each of them does: one of these, again and again.

    ``times``: how often the instant may be reached before it is the one to die at. ``first``: it is
    reached in a database's first life only. ``stops``: it is reached when dispatchd stops.
    """

    operator: Sequence[Callable[[Operator], None]] = (
        *[Operator.run_again] * 4,
        *[Operator.file_again] * 2,
        Operator.trust,
        Operator.load,
        Operator.log_in,
        Operator.pause,
        Operator.cancel,
        Operator.unload,
        Operator.prune,
        Operator.back_up,
        Operator.claim,
        Operator.deliver,
    )
    machines: Sequence[Callable[[Machine], None]] = (
        *[Machine.report] * 16,
        *[Machine.report_at_length] * 2,
        Machine.report_late,
        Machine.speak_unasked,
        Machine.fail_to_boot,
        Machine.stay_silent,
        Machine.reboot,
        Machine.hang,
    )
    weather: Sequence[Callable[[Weather], None]] = (
        *[Weather.turn_bad] * 4,
        Weather.make_release,
    )
    times: int = 1
    first: bool = False
    stops: bool = False


ANYTHING = Scene()
OFTEN = Scene(times=20)
BIRTH = Scene(first=True)
STOP = Scene(stops=True)
LOGIN = Scene(operator=[Operator.log_in], times=2)
FETCHING = Scene(operator=[Operator.load], weather=[Weather.make_release])
COPYING = Scene(operator=[Operator.back_up])
PAUSING = Scene(operator=[Operator.pause], times=2)

_RUN = [*[Operator.run_again] * 4, Operator.trust, Operator.load]
CANCELLING = Scene(operator=[*_RUN, *[Operator.cancel] * 4], machines=[Machine.hang])
UNASKED = Scene(
    operator=[*_RUN, *[Operator.claim] * 4], machines=[Machine.speak_unasked, Machine.report]
)
WORK = Scene(operator=_RUN, machines=[Machine.report], times=2)

_FILE = [*[Operator.file_again] * 4, Operator.trust, Operator.load]
_FAIR = [Weather.clear_up]
FILING = Scene(operator=_FILE, machines=[Machine.report], weather=_FAIR)
COMMENTING = Scene(operator=_FILE, machines=[Machine.report_at_length], weather=_FAIR)
MENDING = Scene(operator=_FILE, machines=[Machine.report], weather=[Weather.refuse_labels])
REFUSED = Scene(operator=_FILE, machines=[Machine.report], weather=[Weather.refuse_reports])
HOLDING = Scene(
    operator=[*_FILE, Operator.log_in], machines=[Machine.report], weather=[Weather.refuse_token]
)


def failing(deed: Callable[[Machine], None]) -> Scene:
    """Work that goes wrong in one way, on machines that are trusted again and again."""
    return Scene(operator=_RUN, machines=[deed])


#: What the source names.
INSTANTS = {
    "migration-before-commit": BIRTH,
    "migration-after-commit": BIRTH,
    "token-before-rename": LOGIN,
    "token-after-rename": LOGIN,
    "cache-before-sync": FETCHING,
    "cache-before-rename": FETCHING,
    "cache-after-rename": FETCHING,
    "copy-before-rename": COPYING,
    "copy-after-rename": COPYING,
    "observation-before-write": OFTEN,
    "observation-after-write": OFTEN,
    "outbox-before-post": FILING,
    "outbox-after-post": FILING,
    "outbox-before-comment": COMMENTING,
    "outbox-after-comment": COMMENTING,
    "outbox-before-mended-post": MENDING,
    "before-commit": OFTEN,
    "after-commit": OFTEN,
}
#: Around the commit of an event.
EVENTS = {
    Kind.STARTED: ANYTHING,
    Kind.STOPPED: STOP,
    Kind.BACKED_UP: COPYING,
    Kind.LOADED: FETCHING,
    Kind.UNLOADED: Scene(operator=[Operator.unload]),
    Kind.BYTES_WHOLE: FETCHING,
    Kind.BYTES_REMOVED: Scene(operator=[*_RUN, Operator.prune]),
    Kind.ASSIGNED: WORK,
    Kind.DOWNLOADING: WORK,
    Kind.WHOLE: WORK,
    Kind.BOOTING: WORK,
    Kind.REOPENED: failing(Machine.boot_late),
    Kind.REPORTED: WORK,
    Kind.FINISHED: WORK,
    Kind.REBOOTED: failing(Machine.reboot),
    Kind.DID_NOT_BOOT: failing(Machine.fail_to_boot),
    Kind.NO_BOOT: failing(Machine.stay_silent),
    Kind.NO_REPORT: failing(Machine.hang),
    Kind.STOPPED_BY_HAND: CANCELLING,
    Kind.CANCELLED: CANCELLING,
    Kind.RETRIED: CANCELLING,
    Kind.QUEUE_PAUSED: PAUSING,
    Kind.QUEUE_RESUMED: PAUSING,
    Kind.MACHINE_HELD: failing(Machine.fail_to_boot),
    Kind.GIVEN_BACK: failing(Machine.fail_to_boot),
    Kind.MACHINE_RESUMED: failing(Machine.fail_to_boot),
    Kind.UNCLAIMED: UNASKED,
    Kind.CLAIMED: UNASKED,
    Kind.REPORT_FILED: FILING,
    Kind.REPORT_HELD: HOLDING,
    Kind.REPORT_REFUSED: REFUSED,
    Kind.REPORT_RETRIED: Scene(operator=[*_FILE, Operator.deliver], machines=[Machine.report]),
    Kind.LOGGED_IN: LOGIN,
}
SCENES = INSTANTS | {
    f"{side}-{kind}": scene for kind, scene in EVENTS.items() for side in ("before", "after")
}
