"""Machines that live through crashes: firmware and beacon as threads that speak real HTTP."""

import hashlib
import http.client
import json
import random
import threading
from collections.abc import Callable, Collection, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from tests.crash.ledger import Ledger

#: Seconds that a machine waits for an answer: a restart takes a few.
PATIENCE = 20.0
#: Seconds in which a machine that hangs is given up.
SILENCE = 2.5
#: And before one that has nothing to run asks again.
IDLE = 0.2
#: The address of nobody.
STRANGER = "127.0.2.1"
#: A text that GitHub does not take in one piece.
LONG = "".join(f"line {number} of the log\n" for number in range(5000))


@dataclass(kw_only=True)
class Machine:
    """One machine. ``name`` is its part of the path, or empty: then its address must do.

    ``workloads``: the digests that are workloads; everything else that boots is a program of ours.
    ``deeds``: what its workloads do, one of these.
    """

    label: str
    name: str
    address: str
    port: int
    workloads: Collection[str]
    ledger: Ledger
    stopping: threading.Event
    chance: random.Random
    deeds: Sequence[Callable[["Machine"], None]]
    reports: int = 0
    path: str = field(init=False)

    def __post_init__(self) -> None:
        self.path = f"/dispatch/{self.name}" if self.name else "/dispatch"

    def live(self) -> None:
        """Power on again and again, whatever happens on the way."""
        while not self.stopping.is_set():
            try:
                if self._boot() in self.workloads:
                    self.chance.choice(self.deeds)(self)
                else:
                    self.stopping.wait(IDLE)
            except (OSError, http.client.HTTPException):
                self.ledger.count("connections cut")
            self.stopping.wait(self.chance.uniform(0.0, 0.2))

    def _boot(self) -> str:
        """HEAD, and the bytes that it announced; their digest, or empty where there are none."""
        with closing(self._connect()) as firmware:
            firmware.request("HEAD", self.path)
            announced = firmware.getresponse()
            announced.read()
        self.ledger.count("HEAD")
        etag, size = announced.getheader("ETag", ""), int(announced.getheader("Content-Length", 0))
        if announced.status != 200 or self.chance.random() < 0.05:
            return ""
        # A large body is cut now and then, as by a machine that is switched off.
        vanishes_at = self.chance.randrange(size) if self.chance.random() < 0.05 else None
        body = self._download(etag, vanishes_at)
        if body is None:
            return ""
        return hashlib.sha256(body).hexdigest()

    def _download(self, etag: str, vanishes_at: int | None) -> bytes | None:
        """The body, resumed where a crash cuts it; None where it cannot be had any more."""
        body = b""
        for _ in range(5):
            headers = {"Range": f"bytes={len(body)}-", "If-Match": etag} if body else {}
            try:
                with closing(self._connect()) as firmware:
                    firmware.request("GET", self.path, headers=headers)
                    answer = firmware.getresponse()
                    self.ledger.count("GET")
                    if answer.status not in (200, 206):
                        return None
                    offered = answer.getheader("ETag", "")
                    self._compare(etag, offered)
                    body = body if answer.status == 206 else b""
                    while chunk := answer.read(65536):
                        body += chunk
                        if vanishes_at is not None and len(body) > vanishes_at:
                            return None
                    # Read in pieces, an end that comes too early raises nothing.
                    if answer.length:
                        raise http.client.IncompleteRead(b"", answer.length)
                    if f'"{hashlib.sha256(body).hexdigest()}"' != offered:
                        self.ledger.blame(f"{self.label} got other bytes than {offered}")
                    return body
            except (OSError, http.client.HTTPException):
                self.ledger.count("downloads cut")
        return None

    def _compare(self, announced: str, offered: str) -> None:
        """What a HEAD announced is what the GET after it gives, a crash between them or not.

        Only where the database keeps dispatchd waiting it may be wait.efi; it then says so.
        """
        if offered == announced or announced.strip('"') not in self.workloads:
            return
        if offered.strip('"') in self.workloads:
            self.ledger.blame(f"{self.label} was promised {announced} and offered {offered}")
        self.ledger.count("told to wait")

    # --- what workloads do ------------------------------------------------------------------------

    def report(self) -> None:
        """As it should be: `beacon boot`, most times, and a report or two."""
        if self.chance.random() < 0.9:
            self._speak("POST", b"")
        for _ in range(self.chance.randint(1, 2)):
            self._report(f"Seen by {self.label}.")

    def report_at_length(self) -> None:
        """A report that needs comments."""
        self._speak("POST", b"")
        self._report(LONG)

    def fail_to_boot(self) -> None:
        """Never a word of it: the machine asks again."""

    def reboot(self) -> None:
        """It boots, and is gone before it could report."""
        self._speak("POST", b"")

    def stay_silent(self) -> None:
        """Nothing is heard of it, nor of the machine."""
        self.stopping.wait(SILENCE)

    def hang(self) -> None:
        """It boots, and then nothing."""
        self._speak("POST", b"")
        self.stopping.wait(SILENCE)

    def boot_late(self) -> None:
        """It boots when it was given up."""
        self.stay_silent()
        self.report()

    def report_late(self) -> None:
        """It reports when it was given up."""
        self.hang()
        self._report(f"Seen by {self.label}, after a long time.")

    def speak_unasked(self) -> None:
        """A report from an address that was never sent a byte."""
        mine, self.address = self.address, STRANGER
        self._report("Whose is it?")
        self.address = mine

    # --- how --------------------------------------------------------------------------------------

    def _report(self, body: str) -> None:
        self.reports += 1
        title = f"{self.label}: result {self.reports}"
        report = {"title": title, "body": body, "labels": ["proc-7003"], "milestone": "c3.0"}
        content = json.dumps(report).encode()
        status = self._speak("PUT", content)
        self.ledger.report(title, status)
        # The predecessor of a restart may have kept it: the same content counts once.
        while status in (None, 503) and self.chance.random() < 0.5:
            status = self._speak("PUT", content)
            self.ledger.report(title, status)

    def _speak(self, method: str, body: bytes) -> int | None:
        """The beacon's status, or None where nobody knows what became of it."""
        try:
            with closing(self._connect()) as beacon:
                beacon.request(method, self.path, body)
                answer = beacon.getresponse()
                answer.read()
                return answer.status
        except (OSError, http.client.HTTPException):
            return None

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(
            "127.0.0.1", self.port, timeout=PATIENCE, source_address=(self.address, 0)
        )
