"""The boot port: firmware's HEAD and GET, the beacon's POST and PUT, and a page for people.

What firmware needs is narrow (UEFI 2.10 section 24.7 and EDK2's NetworkPkg/HttpBootDxe): an answer
in less than five seconds, an exact length, a bare media type, a strong ETag, no redirect, and never
a server error where it might hang.
"""

import ipaddress
import logging
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from typing import TYPE_CHECKING, BinaryIO, Protocol

import flask
from werkzeug.exceptions import HTTPException

from dispatchd.domain.media import parse_boot_path
from dispatchd.errors import BadRequest, StoreError
from dispatchd.faces import byterange
from dispatchd.faces.channel import Transfer
from dispatchd.faces.fallbacks import Fallbacks, Waits
from dispatchd.faces.page import render_page
from dispatchd.services.clock import Clock
from dispatchd.services.dispatcher.asks import Asks
from dispatchd.services.dispatcher.beacons import Beacons
from dispatchd.services.dispatcher.content import parse_content
from dispatchd.services.dispatcher.identity import Caller
from dispatchd.services.dispatcher.idle import Idle
from dispatchd.services.dispatcher.observations import Observations
from dispatchd.services.dispatcher.offers import Offer
from dispatchd.services.dispatcher.overview import Overview
from dispatchd.services.dispatcher.phases import Phases
from dispatchd.services.knocks import KnockBook
from dispatchd.store.history import Knock

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger(__name__)

#: The largest report, in bytes of JSON.
LARGEST_REPORT = 4_194_304
ALLOWED = "GET, HEAD, POST, PUT"
#: Agents of browsers, scanners and of what looks whether we are alive: whatever they accept, they
#: boot nothing. Firmware says UefiHttpBoot or iPXE, or what its vendor likes.
ONLOOKER = re.compile(
    r"\AMozilla/|probe|health|monitor|check_http|blackbox|prometheus|zabbix|uptime|scan",
    re.IGNORECASE,
)


class Bytes(Protocol):
    """The cache, as far as serving goes."""

    def open(self, sha256: str, *, size: int) -> BinaryIO: ...


class Neighbours(Protocol):
    """The kernel's neighbour table."""

    def mac_of(self, address: str) -> str | None: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class BootFace:
    """Everything the boot port calls."""

    path: str
    allow: Callable[[], Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network]]
    clock: Clock
    asks: Asks
    beacons: Beacons
    idle: Idle
    overview: Overview
    observations: Observations
    phases: Phases
    knocks: KnockBook
    cache: Bytes
    neighbours: Neighbours
    fallbacks: Fallbacks
    waits: Waits

    def application(self) -> "WSGIApplication":
        """The WSGI application. Host is never judged: firmware leaves the port out of it."""
        app = flask.Flask("dispatchd.boot", static_folder=None)
        app.url_map.merge_slashes = False
        app.url_map.strict_slashes = False
        app.before_request(self._serve)
        app.register_error_handler(HTTPException, lambda error: _empty(error.code or 500))
        wsgi = app.wsgi_app

        def application(
            environ: "WSGIEnvironment", start_response: "StartResponse"
        ) -> Iterable[bytes]:
            environ["HTTP_HOST"] = "dispatchd"
            return wsgi(environ, start_response)

        return application

    def misfit(self, kind: str, address: str) -> None:
        """Somebody spoke something else than HTTP to us."""
        remedy = "this port speaks plain HTTP" if kind == "tls hello" else "refused"
        log.info("%s knocked with a %s: %s", address, kind, remedy)
        self._knock(Caller(name="", mac=self._mac(address), address=address), kind, "refused", None)

    def _serve(self) -> flask.Response:
        request = flask.request
        address = request.environ.get("REMOTE_ADDR", "")
        target = parse_boot_path(request.environ.get("PATH_INFO", ""), self.path)
        caller = Caller(
            name=target.machine if target else "", mac=self._mac(address), address=address
        )
        machine_id: int | None = None
        if not self._is_allowed(address):
            log.info("%s is not in [boot] allow: refused", address)
            response, answer = _empty(403), "403 not in [boot] allow"
        elif target is None:
            response, answer = _empty(404), "404 no such path"
        elif request.method not in ("GET", "HEAD", "POST", "PUT"):
            response, answer = _empty(405, Allow=ALLOWED), "405"
        elif request.method in ("GET", "HEAD") and _is_for_people(request):
            response, answer = self._page(request), "200 page"
        else:
            response, answer, machine_id = self._speak(request, caller)
        self._knock(caller, f"{request.method} {request.full_path.rstrip('?')}", answer, machine_id)
        return response

    def _speak(
        self, request: flask.Request, caller: Caller
    ) -> tuple[flask.Response, str, int | None]:
        if request.method == "POST":
            return self._boot(caller)
        if request.method == "PUT":
            return self._report(request, caller)
        offer = self._offer(request, caller)
        response = self._answer(request, caller, offer)
        return response, f"{response.status_code} {offer.handed}", offer.machine_id

    def _offer(self, request: flask.Request, caller: Caller) -> Offer:
        """What to hand out; never an error, since old firmware hangs on one."""
        is_head = request.method == "HEAD"
        announced = None if is_head else self.fallbacks.promised(caller)
        if announced is not None and announced.status == 200 and announced.machine_id is None:
            return announced
        wait = self.waits.seconds()
        try:
            if is_head:
                offer = self.asks.head(caller, wait=wait)
                self.fallbacks.promise(caller, offer)
                return offer
            if "Range" in request.headers:
                return self.asks.resume(caller, wait=wait)
            return self.asks.get(caller, wait=wait)
        except StoreError as error:
            self.waits.in_vain(wait)
            log.error("cannot serve %s from the queue: %s", caller.address, error)
        except Exception:
            log.exception("cannot serve %s from the queue", caller.address)
        offer = announced or self.idle.fallback("its database does not answer")
        if is_head:
            self.fallbacks.promise(caller, offer)
        return offer

    def _answer(self, request: flask.Request, caller: Caller, offer: Offer) -> flask.Response:
        if offer.status != 200:
            return _empty(offer.status)
        try:
            if offer.body:
                file: BinaryIO = BytesIO(offer.body)
            else:
                file = self.cache.open(offer.sha256, size=offer.size)
        except OSError as error:
            log.error(
                "cannot read %s from the cache, %s waits: %s", offer.handed, caller.address, error
            )
            offer = self.idle.fallback("its cache cannot be read")
            file = BytesIO(offer.body)
        headers = request.headers
        etag = f'"{offer.sha256}"'
        is_head = request.method == "HEAD"
        part = byterange.select(
            size=offer.size,
            etag=etag,
            modified=_modified(file),
            range_=None if is_head else headers.get("Range"),
            if_match=headers.get("If-Match"),
            if_unmodified_since=headers.get("If-Unmodified-Since"),
            if_range=headers.get("If-Range"),
        )
        if part.status in (412, 416):
            file.close()
            extra = {"Content-Range": f"bytes */{offer.size}"} if part.status == 416 else {}
            return _empty(part.status, **extra)
        response = flask.Response(status=part.status)
        response.headers["Content-Type"] = offer.media_type
        response.headers["Content-Length"] = str(part.length)
        response.headers["ETag"] = etag
        if part.status == 206:
            last = part.offset + part.length - 1
            response.headers["Content-Range"] = f"bytes {part.offset}-{last}/{offer.size}"
        if is_head:
            file.close()
        elif offer.attempt_id is None:
            if (machine_id := offer.machine_id) is not None:
                self.observations.program(machine_id, caller)
                self._write_down()
            file.seek(part.offset)
            response.response = [file.read(part.length)]
        else:
            self._send(request, response, self._transfer(caller, offer, part, file))
        return response

    def _send(self, request: flask.Request, response: flask.Response, body: Transfer) -> None:
        # The body goes to the channel as it is, past every wrapper that would read it.
        response.direct_passthrough = True
        response.response = body

    def _transfer(
        self, caller: Caller, offer: Offer, part: byterange.Part, file: BinaryIO
    ) -> Transfer:
        attempt_id = offer.attempt_id
        assert attempt_id is not None  # noqa: S101 - only assets are sent this way
        reached_end = part.offset + part.length == offer.size

        self.observations.first_byte(attempt_id, caller)
        self._write_down()

        def progress(sent: int) -> None:
            self.phases.progress(attempt_id, part.offset + sent)
            if reached_end and sent == part.length:
                self.observations.whole(attempt_id)

        return Transfer(
            file,
            offset=part.offset,
            length=part.length,
            on_progress=progress,
        )

    def _write_down(self) -> None:
        """Have on disk what goes out, before a byte leaves: if we are killed in between, whose is
        the beacon that speaks then? It goes out all the same where the database does not answer."""
        wait = self.waits.seconds()
        try:
            self.observations.write(wait=wait)
        except StoreError as error:
            self.waits.in_vain(wait)
            log.debug("cannot write down yet what goes out: %s", error)

    def _boot(self, caller: Caller) -> tuple[flask.Response, str, int | None]:
        try:
            self.observations.write()
            credit = self.beacons.boot(caller)
        except StoreError as error:
            log.error("cannot take a beacon's boot from %s: %s", caller.address, error)
            return _empty(503, **{"Retry-After": "5"}), "503", None
        if not credit.workload:
            log.info("%s sent a beacon's boot but runs nothing here", caller.address)
            return _empty(417), "417 runs nothing here", None
        return _empty(200), f"200 boot of {credit.workload}", credit.machine_id

    def _report(
        self, request: flask.Request, caller: Caller
    ) -> tuple[flask.Response, str, int | None]:
        try:
            self.observations.write()
            return self._take_report(request, caller)
        except StoreError as error:
            log.error(
                "cannot store a report from %s, it must be sent again: %s", caller.address, error
            )
            return _empty(503, **{"Retry-After": "5"}), "503 not stored", None

    def _take_report(
        self, request: flask.Request, caller: Caller
    ) -> tuple[flask.Response, str, int | None]:
        body = request.stream.read(LARGEST_REPORT + 1)
        if len(body) > LARGEST_REPORT:
            return self._refuse(caller, 413, "it is larger than 4 MiB", "", body[:LARGEST_REPORT])
        try:
            content = parse_content(body)
        except BadRequest as error:
            return self._refuse(caller, 400, str(error), "", body)
        credit = self.beacons.report(caller, content)
        if not credit.workload:
            reason = "it runs nothing here"
            return self._refuse(caller, 417, reason, content.title, body)
        return _empty(200), f"200 report of {credit.workload}", credit.machine_id

    def _refuse(
        self, caller: Caller, answer: int, reason: str, title: str, body: bytes
    ) -> tuple[flask.Response, str, int | None]:
        """Say no, but keep the body: beacon does not try again."""
        self.beacons.keep_unclaimed(caller, answer=answer, reason=reason, title=title, body=body)
        return _empty(answer), f"{answer} {reason}", None

    def _page(self, request: flask.Request) -> flask.Response:
        best = request.accept_mimetypes.best_match(["text/html", "application/json"])
        body, media_type = render_page(self.overview.status, as_json=best == "application/json")
        response = flask.Response(body, mimetype=media_type)
        response.headers["Content-Length"] = str(len(body))
        return response

    def _is_allowed(self, address: str) -> bool:
        allow = self.allow()
        if not allow:
            return True
        try:
            known = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        return any(known in network for network in allow)

    def _mac(self, address: str) -> str:
        return self.neighbours.mac_of(address) or ""

    def _knock(self, caller: Caller, request: str, answer: str, machine_id: int | None) -> None:
        agent = flask.request.headers.get("User-Agent", "") if flask.has_request_context() else ""
        self.knocks.put(
            Knock(
                at=self.clock.now(),
                address=caller.address,
                mac=caller.mac,
                machine_id=machine_id,
                request=request[:200],
                agent=agent[:200],
                answer=answer[:200],
            )
        )


def _is_for_people(request: flask.Request) -> bool:
    """Whether the request would rather have a page than a file to boot. ``*/*`` would not, unless
    its agent boots nothing.
    """
    if ONLOOKER.search(request.headers.get("User-Agent", "")):
        return True
    accept = request.accept_mimetypes
    boot = accept.quality("application/efi")
    return max(accept.quality("text/html"), accept.quality("application/json")) > boot


def _empty(status: int, **headers: str) -> flask.Response:
    response = flask.Response(status=status, headers=headers)
    del response.headers["Content-Type"]
    response.headers["Content-Length"] = "0"
    return response


def _modified(file: BinaryIO) -> datetime | None:
    """When a cached asset was published here; None for a program, which is no file."""
    if isinstance(file, BytesIO):
        return None
    return datetime.fromtimestamp(os.fstat(file.fileno()).st_mtime, UTC)
