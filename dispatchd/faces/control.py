"""The control socket: HTTP and JSON, the whole API on one screen (see ``_routes``)."""

import logging
import os
import pwd
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol, TypeVar

import flask
import msgspec
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from dispatchd import errors, wire
from dispatchd.faces.channel import Transfer
from dispatchd.services.backup import Backups
from dispatchd.services.dispatcher.operator import Operator
from dispatchd.services.dispatcher.overview import Overview
from dispatchd.services.login import Login
from dispatchd.services.storeroom import Storeroom

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

log = logging.getLogger(__name__)

T = TypeVar("T")
#: What the caller of a failed request is told; the first class that fits counts.
KINDS: tuple[tuple[type[errors.DispatchError], wire.ErrorKind], ...] = (
    (errors.BadRequest, "bad-request"),
    (errors.NotFound, "not-found"),
    (errors.Conflict, "conflict"),
    (errors.Refused, "refused"),
    (errors.ConfigError, "refused"),
    (errors.Unavailable, "unavailable"),
    (errors.StoreError, "unavailable"),
)


class Catalog(Protocol):
    """What loading needs."""

    def load(self, request: wire.LoadRequest, *, by: str) -> wire.LoadAnswer: ...
    def unload(self, release_id: int, *, by: str) -> None: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class ControlFace:
    """Everything the control socket calls."""

    overview: Overview
    operator: Operator
    catalog: Catalog
    storeroom: Storeroom
    login: Login
    backups: Backups

    def application(self) -> "WSGIApplication":
        """The WSGI application."""
        app = flask.Flask("dispatchd.control", static_folder=None)
        for rule, methods in self._routes().items():
            for method, view in methods.items():
                app.add_url_rule(rule, f"{method} {rule}", view, methods=[method])
        app.register_error_handler(errors.DispatchError, _refuse)
        app.register_error_handler(HTTPException, _refuse_http)
        app.register_error_handler(Exception, _fail)
        return app.wsgi_app

    def _routes(self) -> dict[str, dict[str, Callable[..., flask.Response]]]:
        return {
            "/v1/status": {"GET": lambda: _json(self.overview.status())},
            "/v1/releases": {
                "GET": lambda: _json(self.overview.releases()),
                "POST": lambda: _json(self.catalog.load(_read(wire.LoadRequest), by=_by())),
            },
            "/v1/releases/<int:release_id>": {"DELETE": self._unload},
            "/v1/workloads/<int:workload_id>": {
                "GET": lambda workload_id: _json(self.overview.workload(workload_id))
            },
            "/v1/workloads/<int:workload_id>/retry": {"POST": self._retry},
            "/v1/workloads/<int:workload_id>/cancel": {"POST": self._cancel},
            "/v1/queue/pause": {"POST": lambda: self._pause(paused=True)},
            "/v1/queue/resume": {"POST": lambda: self._pause(paused=False)},
            "/v1/machines": {"GET": lambda: _json(self.overview.machines())},
            "/v1/machines/<reference>": {"PUT": self._set_machine, "DELETE": self._forget},
            "/v1/reports": {"GET": lambda: _json(self.overview.reports(_number("offset")))},
            "/v1/reports/<report_id>": {
                "GET": lambda report_id: _json(self.overview.report(report_id))
            },
            "/v1/reports/<report_id>/claim": {"POST": self._claim},
            "/v1/reports/<report_id>/retry": {"POST": self._deliver_again},
            "/v1/events": {
                "GET": lambda: _json(self.overview.events(_number("after"), since=_moment("since")))
            },
            "/v1/cache": {"GET": lambda: _json(self.storeroom.report())},
            "/v1/cache/prune": {"POST": lambda: _json(self.storeroom.prune(by=_by()))},
            "/v1/cache/verify": {"POST": lambda: _json(self.storeroom.verify(by=_by()))},
            "/v1/backup": {"GET": self._back_up},
            "/v1/token": {"PUT": self._log_in},
        }

    def _unload(self, release_id: int) -> flask.Response:
        self.catalog.unload(release_id, by=_by())
        return _json(self.overview.releases())

    def _retry(self, workload_id: int) -> flask.Response:
        self.operator.retry(workload_id, on=_read(wire.RetryRequest).on, by=_by())
        return _json(self.overview.workload(workload_id))

    def _cancel(self, workload_id: int) -> flask.Response:
        self.operator.cancel(workload_id, by=_by())
        return _json(self.overview.workload(workload_id))

    def _pause(self, *, paused: bool) -> flask.Response:
        named = _read(wire.PauseRequest).machines
        self.operator.pause(named, paused=paused, by=_by())
        return _json(
            wire.PauseAnswer(
                paused=self.overview.status().paused, machines=self.overview.machines().machines
            )
        )

    def _set_machine(self, reference: str) -> flask.Response:
        change = _read(wire.MachineChange)
        machine_id = self.operator.change_machine(
            reference,
            name=change.name,
            pool=change.pool,
            note=change.note,
            simulated=change.simulated,
            by=_by(),
        )
        return _json(self.overview.machine(machine_id))

    def _forget(self, reference: str) -> flask.Response:
        self.operator.forget_machine(reference, by=_by())
        return _json(wire.Empty())

    def _claim(self, report_id: str) -> flask.Response:
        workload_id = _read(wire.ClaimRequest).workload_id
        return _json(self.overview.report(self.operator.claim(report_id, workload_id, by=_by())))

    def _log_in(self) -> flask.Response:
        return _json(self.login.log_in(_read(wire.TokenRequest).token, by=_by()))

    def _back_up(self) -> flask.Response:
        copy = self.backups.make(by=_by())
        size = os.fstat(copy.fileno()).st_size
        response = flask.Response(content_type="application/vnd.sqlite3")
        response.headers["Content-Length"] = str(size)
        response.direct_passthrough = True
        response.response = Transfer(copy, offset=0, length=size)
        return response

    def _deliver_again(self, report_id: str) -> flask.Response:
        self.operator.deliver_again(report_id, by=_by())
        return _json(self.overview.report(report_id))


def _read(shape: type[T]) -> T:
    """The request's body; an absent one is an empty object."""
    try:
        return msgspec.json.decode(flask.request.get_data() or b"{}", type=shape)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise errors.BadRequest(f"cannot read the request: {error}") from error


def _number(name: str) -> int:
    """A whole number from the query string, 0 where it is absent."""
    word = flask.request.args.get(name, "0")
    if not (word.isascii() and word.isdecimal() and len(word) < 19):
        raise errors.BadRequest(f"cannot read {name}={word!r}: it is no whole number")
    return int(word)


def _moment(name: str) -> datetime | None:
    """A moment from the query string, RFC 3339, or None where it is absent."""
    word = flask.request.args.get(name)
    if word is None:
        return None
    try:
        return msgspec.convert(word, datetime).astimezone(UTC)
    except (msgspec.ValidationError, OverflowError) as error:
        raise errors.BadRequest(f"cannot read {name}={word!r}: it is no RFC 3339 time") from error


def _by() -> str:
    """The user who asks, by the socket's peer credentials."""
    uid = flask.request.environ.get("dispatchd.peer_uid")
    if uid is None:
        return "somebody"
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _json(answer: msgspec.Struct, status: int = 200) -> flask.Response:
    return flask.Response(
        msgspec.json.encode(answer), status=status, content_type="application/json"
    )


def _problem(kind: wire.ErrorKind, message: str, hint: str = "") -> flask.Response:
    problem = wire.Problem(kind=kind, message=message, hint=hint)
    return _json(wire.ErrorAnswer(error=problem), wire.STATUS_OF[kind])


def _refuse(error: errors.DispatchError) -> flask.Response:
    for known, kind in KINDS:
        if isinstance(error, known):
            return _problem(kind, str(error), error.hint)
    return _problem("internal", str(error), error.hint)


def _refuse_http(error: HTTPException) -> flask.Response:
    path = flask.request.path
    if isinstance(error, MethodNotAllowed):
        allowed = ", ".join(sorted(error.valid_methods or ()))
        return _problem("bad-request", f"cannot {flask.request.method} {path}: it takes {allowed}")
    if error.code == 404:
        return _problem("not-found", f"cannot find {path}")
    return _problem("bad-request", f"cannot read the request: {error.description}")


def _fail(error: Exception) -> flask.Response:
    log.error("cannot answer %s %s", flask.request.method, flask.request.path, exc_info=error)
    return _problem(
        "internal",
        "cannot answer: an error that dispatchd did not expect",
        "journalctl -u dispatchd",
    )
