"""Hooks in the sandbox of the unit: what docs/hooks.md says they can do there, and its examples."""

import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.eventually import eventually
from tests.system import probe
from tests.system.machine import MACHINE, Machine
from tests.system.service import Service

pytestmark = pytest.mark.system

DOCUMENT = Path(__file__).parents[2] / "docs/hooks.md"
TOKEN = "ghp_" + "h0Ok" * 9
HOOK, HOOKS = "/etc/dispatchd/hook", '[hooks]\ncommand = "/etc/dispatchd/hook"\n'
#: What may be allowed, as the documentation says how; a device is none of a container's.
MORE = {"/srv", "/home", "raw packets", "code in memory"}


def hook(service: Service, script: str, *, secret: str = "", settings: str = "") -> None:
    """Run it after each event from now on; ``secret`` is a file that only dispatchd may read."""
    service.container.write(HOOK, script)
    service.container.run("chmod", "755", HOOK)
    for name in re.findall(r"/etc/dispatchd/[a-z]+-?[a-z]+\b", script):
        if name != HOOK:
            service.container.write(name, secret)
            service.container.run("chown", "dispatchd", name)
            service.container.run("chmod", "400", name)
    service.settings(settings + HOOKS)
    service.systemctl("restart", "dispatchd")


def example(number: int) -> str:
    """One of the hooks of the documentation."""
    scripts: list[str] = re.findall(r"```sh\n(#!.*?)```", DOCUMENT.read_text(), re.DOTALL)
    return scripts[number]


def probed(service: Service) -> dict[str, Any]:
    """What a hook was told of a load, and what it could do."""
    run, write = service.container.run, service.container.write
    run("mkdir", "-p", "/srv/probe")
    run("chmod", "777", "/srv/probe")
    write("/home/probe", "of somebody")
    write("/usr/local/bin/ours", "#!/bin/sh\n")
    run("chmod", "755", "/usr/local/bin/ours")
    run("install", "-m", "4755", "/usr/bin/whoami", "/usr/local/bin/setuid-whoami")
    as_nobody = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")
    assert run(*as_nobody, "/usr/local/bin/setuid-whoami") == "root\n"
    hook(service, Path(probe.__file__).read_text())
    service.ctl("load", "--dir", service.images("a.efi"))
    told = service.container.root / "var/lib/dispatchd/probed-loaded.json"
    eventually(told.exists, within=30)
    found: dict[str, Any] = json.loads(told.read_text())
    return found


def test_a_hook_is_told_and_can_do_what_is_documented_and_no_more(service: Service) -> None:
    service.container.write("/etc/credstore/github-token", TOKEN)
    found = probed(service)
    told = found["environment"]
    assert (found["user"], told["HOME"]) == ("dispatchd", "/var/lib/dispatchd")
    assert (told["DISPATCHD_EVENT"], told["DISPATCHD_RELEASE"]) == ("loaded", "/srv/images")
    assert told["DISPATCHD_BY"] == "root"
    assert not [name for name in told if "CREDENTIAL" in name or TOKEN in told[name]]
    assert set(found["works"]) == probe.DEEDS.keys() - MORE - {"root"}


def test_what_is_documented_allows_it_the_rest(service: Service) -> None:
    lines = re.findall(r"`([A-Z][A-Za-z]+=[^`]+)`", DOCUMENT.read_text())
    service.drop_in("dispatchd.service", "\n".join(["[Service]", *lines, ""]))
    assert set(probed(service)["works"]) == probe.DEEDS.keys() - {"root"}


def test_the_documented_power_cycle_reaches_the_machines_bmc(
    service: Service, machine: Machine
) -> None:
    service.container.write(
        "/etc/hosts", f"127.0.0.1 localhost\n{MACHINE} bmc-epyc-07.lab.example\n"
    )
    hook(service, example(0), secret="secret", settings='[deadlines]\nboot = "1s"\n')
    service.ctl("load", "--dir", service.images("a.efi"))
    with machine.namespace.entered():
        bmc = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        bmc.bind((MACHINE, 623))
    with closing(bmc):
        bmc.settimeout(60)
        machine.ask("HEAD")
        service.ctl("machines", "name", machine.namespace.mac("eth0"), "epyc-07")
        machine.boot()
        # IPMI over RMCP.
        assert bmc.recv(1024)[:4] == b"\x06\x00\xff\x07"


@contextmanager
def webhook(machine: Machine) -> Iterator[list[bytes]]:
    """A chat's address on port 8000 of the machine, and what was posted to it."""
    posted: list[bytes] = []

    class Chat(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *words: object) -> None:
            pass

    with machine.namespace.entered():
        server = HTTPServer((MACHINE, 8000), Chat)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield posted
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_the_documented_message_arrives_in_the_chat(service: Service, machine: Machine) -> None:
    hook(service, example(1), secret=f"http://{MACHINE}:8000/lab\n")
    with webhook(machine) as posted:
        assert machine.ask("PUT", b'{"title": "whose?"}').status == 417
        eventually(lambda: posted, within=30)
    (message,) = posted
    assert json.loads(message)["text"].startswith("dispatchd: ")
