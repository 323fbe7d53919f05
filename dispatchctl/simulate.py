"""`simulate`: plays firmware and beacon, to see the whole loop without a server.

It never touches a GitHub release: dispatchd hands a simulated machine nothing but workloads loaded
from a directory, and keeps its reports here.
"""

import hashlib
import http.client
import threading
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import click
import msgspec

from dispatchctl import render
from dispatchctl.cli import Session, dispatchctl, pass_session
from dispatchctl.client import Client, Failure
from dispatchd import wire

#: Seconds that each step may take; firmware itself waits for five.
TIMEOUT = 30.0


@dispatchctl.command()
@click.option("--machines", type=click.IntRange(1, 100), default=2, help="How many machines.")
@click.option("--patience", type=int, default=120, help="Seconds that a machine waits for work.")
@click.option("--pace", type=float, default=0, help="Seconds between two steps, to watch them.")
@pass_session
def simulate(session: Session, machines: int, patience: int, pace: float) -> None:
    """Play machines through the workloads of a loaded directory, until all are switched off."""
    client = session.client
    loaded = client.get("/v1/releases", wire.Releases).releases
    if not any(release.source == "directory" for release in loaded):
        raise Failure(
            "cannot simulate: no directory is loaded, and a GitHub release is never played with",
            hint="dispatchctl load --dir PATH",
        )
    url = urlsplit(client.get("/v1/status", wire.Status).url)
    played = [
        Simulated(
            client=client,
            name=f"sim-{number}",
            port=url.port or 80,
            path=url.path,
            hosts=("127.0.0.1", url.hostname or "127.0.0.1"),
            patience=patience,
            pace=pace,
        )
        for number in range(1, machines + 1)
    ]
    threads = [threading.Thread(target=machine.live, daemon=True) for machine in played]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    troubled = [machine for machine in played if machine.trouble]
    if troubled:
        raise Failure("; ".join(f"{machine.name}: {machine.trouble}" for machine in troubled))


@dataclass(kw_only=True)
class Simulated:
    """One machine: powers on, asks, runs what it is handed, reports, and asks again."""

    client: Client
    name: str
    hosts: tuple[str, ...]
    port: int
    path: str
    patience: int
    pace: float
    trouble: str = ""
    pause: threading.Event = field(default_factory=threading.Event)

    def live(self) -> None:
        """Boot until switched off. What goes wrong is left in ``trouble``."""
        try:
            change = wire.MachineChange(simulated=True)
            self.client.send("PUT", f"/v1/machines/{self.name}", change, wire.Machine)
            waited = 0
            while True:
                handed = self._boot()
                if handed is None or handed == "poweroff.efi":
                    return
                if handed != "wait.efi":
                    self._run(handed)
                    waited = 0
                    continue
                waited += 1
                if waited > self.patience:
                    self.trouble = f"still told to wait after {self.patience} s"
                    return
                self.pause.wait(1)
        except (Failure, OSError, http.client.HTTPException) as error:
            self.trouble = str(error)

    def _boot(self) -> str | None:
        """HEAD and GET on one connection, as firmware does; what was handed out, or None."""
        connection = self._connect()
        try:
            announced, _ = self._ask(connection, "HEAD")
            if announced.status != 200:
                self._say(f"boots its next option ({announced.status})")
                return None
            answer, body = self._ask(connection, "GET")
        finally:
            connection.close()
        same = ("Content-Length", "Content-Type", "ETag")
        if any(answer.getheader(key) != announced.getheader(key) for key in same):
            raise Failure("GET did not give what HEAD announced")
        if answer.getheader("ETag") != f'"{hashlib.sha256(body).hexdigest()}"':
            raise Failure("the bytes are not those that the ETag names")
        handed = self._handed()
        signs = {"poweroff.efi": "is switched off", "wait.efi": "is told to wait"}
        said = signs.get(handed, f"{wire.SIGNS['downloading']} has {handed}")
        self._say(f"{said} ({render.size(len(body))})")
        return handed

    def _run(self, handed: str) -> None:
        self._speak("POST", None)
        self._say(f"{wire.SIGNS['booting']} booted {handed}")
        for part in ("prerequisites", "tests"):
            title = f"{handed}: {part} passed (simulated)"
            report = {"title": title, "body": "A simulated report.", "labels": ["simulated"]}
            self._speak("PUT", msgspec.json.encode(report))
            self._say(f"{wire.SIGNS['reported']} {title}")

    def _say(self, step: str) -> None:
        click.echo(f"{self.name}  {step}")
        self.pause.wait(self.pace)

    def _speak(self, method: str, body: bytes | None) -> None:
        connection = self._connect()
        try:
            headers = {"User-Agent": "beacon (simulated)"}
            connection.request(method, f"{self.path}/{self.name}", body, headers)
            answer = connection.getresponse()
            answer.read()
        finally:
            connection.close()
        if answer.status != 200:
            raise Failure(f"its beacon's {method} was answered {answer.status}")

    def _ask(
        self, connection: http.client.HTTPConnection, method: str
    ) -> tuple[http.client.HTTPResponse, bytes]:
        headers = {"Accept": "*/*", "User-Agent": "UefiHttpBoot/1.0"}
        connection.request(method, f"{self.path}/{self.name}", headers=headers)
        answer = connection.getresponse()
        return answer, answer.read()

    def _connect(self) -> http.client.HTTPConnection:
        for host in self.hosts:
            connection = http.client.HTTPConnection(host, self.port, timeout=TIMEOUT)
            try:
                connection.connect()
            except OSError:
                continue
            return connection
        raise Failure(f"cannot reach the boot port {self.port} on {' or '.join(self.hosts)}")

    def _handed(self) -> str:
        for machine in self.client.get("/v1/machines", wire.Machines).machines:
            if machine.name == self.name:
                return machine.handed or ""
        return ""
