"""A machine's whole loop inside the sandbox: GitHub, the boot port, mDNS, the log, the people."""

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.avahi import Avahi
from tests.eventually import eventually
from tests.requirements import require_programs
from tests.system.container import Container
from tests.system.machine import Machine
from tests.system.service import Service

pytestmark = pytest.mark.system

TOKEN = "ghp_" + "s3CreT" * 6
ROOT = Path(__file__).parents[2]
REPORT = json.dumps({"title": "all passed", "labels": ["os-a"]}).encode()


@contextmanager
def github(container: Container, *arguments: str) -> Iterator[str]:
    """The stand-in for GitHub beside the service; the URL of its API."""
    process = container.network.start(
        sys.executable,
        "-m",
        "tests.github_standin",
        *("--token", TOKEN, *arguments),
        environ={"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    yield process.stdout.readline().strip()
    assert process.poll() is None


def test_a_machine_runs_a_release_and_its_report_becomes_an_issue(
    service: Service, machine: Machine
) -> None:
    service.container.write("/etc/credstore/github-token", TOKEN)
    with github(service.container, "--release", "lab/images@devel", "--asset", "a.efi=3MiB") as url:
        service.settings(f'[github]\napi_url = "{url}"\nissue_spacing = "1s"\n')
        service.systemctl("restart", "dispatchd")
        service.ctl("load", "lab/images@devel")
        assert len(machine.boot().body) == 3 << 20
        assert machine.ask("POST").status == 200
        assert machine.ask("PUT", REPORT).status == 200
        machine.ask("HEAD")
        eventually(lambda: service.states() == ["finished"], within=30)
        (workload,) = service.status()["workloads"]
        (report,) = workload["reports"]
        assert report["state"] == "filed"
        assert report["url"].endswith("/lab/images/issues/1")
        # The kernel's neighbour table was read: the machine is known by more than its address.
        (seen,) = json.loads(service.ctl("machines", "--json"))["machines"]
        assert machine.namespace.mac("eth0") in json.dumps(seen)
        story = [entry["MESSAGE"] for entry in service.journal("WORKLOAD=a.efi")]
        assert len(story) >= 5, story
        assert service.journal("WORKLOAD=b.efi") == []
    assert_is_nowhere(TOKEN, service)


def assert_is_nowhere(token: str, service: Service) -> None:
    """The token that systemd handed over is in no file of the service, and in no answer of it."""
    for place in ("/var/lib/dispatchd", "/var/cache/dispatchd", "/var/log", "/run/log"):
        grep = ("grep", "--recursive", "--files-with-matches", "--text", token, place)
        assert token not in service.container.run(*grep, status=1)
    for command in ("status", "events", "releases", "machines", "reports"):
        assert token not in service.ctl(command, "--json")


def test_a_token_may_be_encrypted_on_disk(service: Service) -> None:
    encrypted = "/etc/credstore.encrypted/github-token"
    service.container.run("mkdir", "-p", "/etc/credstore.encrypted")
    service.container.run(
        "systemd-creds", "encrypt", "--name=github-token", "-", encrypted, stdin=TOKEN
    )
    service.drop_in("dispatchd.service", "[Service]\nLoadCredentialEncrypted=github-token\n")
    service.systemctl("restart", "dispatchd")
    service.container.run("rm", encrypted)
    assert any("systemd credential" in entry["MESSAGE"] for entry in service.journal())
    assert "systemd credential" in service.ctl("login", stdin="ghp_other\n", status=1)


def test_simulated_machines_run_a_directory(service: Service) -> None:
    service.ctl("load", "--dir", service.images("a.efi", "b.efi"))
    assert "is switched off" in service.ctl("simulate", "--machines", "2")
    assert set(service.states()) <= {"reported", "finished"}


def test_a_directory_that_the_sandbox_hides_is_refused_with_the_way_out(service: Service) -> None:
    service.container.run("mkdir", "-p", "/home/images")
    assert "it sees no /home and no /tmp" in service.ctl("load", "--dir", "/home/images", status=1)


def test_a_machine_finds_the_service_by_mdns(
    service: Service, machine: Machine, tmp_path: Path
) -> None:
    require_programs("dbus-daemon", "avahi-daemon", "avahi-browse")
    there = Avahi(machine.namespace, tmp_path / "machine")
    found = eventually(there.services, within=30)
    assert {(address, port) for _, _, address, port in found} >= {("10.88.0.1", "8080")}


def test_no_machine_is_refused_and_no_report_lost_over_restarts(
    service: Service, machine: Machine
) -> None:
    service.ctl("load", "--dir", service.images("a.efi"))
    machine.boot()
    assert machine.ask("POST").status == 200
    stop = threading.Event()
    kept: list[str] = []
    refused: list[object] = []

    def beacon(number: int) -> None:
        count = 0
        while not stop.is_set():
            count += 1
            title = f"beacon {number} report {count}"
            try:
                answer = machine.ask("PUT", json.dumps({"title": title}).encode())
            except OSError as error:
                refused.append(error)
                continue
            if answer.status == 200:
                kept.append(title)
            else:
                refused.append(answer.status)

    threads = [threading.Thread(target=beacon, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        before = len(kept)
        eventually(lambda: len(kept) > before + 20, within=60)  # noqa: B023
        service.systemctl("restart", "dispatchd")
    stop.set()
    for thread in threads:
        thread.join()
    assert refused == []
    (workload,) = service.status()["workloads"]
    assert sorted(report["title"] for report in workload["reports"]) == sorted(kept)


def test_the_journal_says_what_to_do_about_what_needs_a_hand(
    service: Service, machine: Machine
) -> None:
    assert machine.ask("PUT", REPORT).status == 417
    log = ("journalctl", "--unit=dispatchd", "--catalog", "EVENT=unclaimed")
    eventually(lambda: "dispatchctl reports claim" in service.container.run(*log))


def test_who_is_in_the_group_may_operate_it_and_is_named_in_the_history(
    service: Service,
) -> None:
    for user in ("alice", "bob"):
        service.container.run("useradd", "--create-home", user, status=None)
    said = service.container.shell("dispatchctl status", user="bob", status=3)
    assert "hint: sudo adduser bob dispatch, and log in again" in said
    service.container.run("adduser", "alice", "dispatch")
    service.container.shell("dispatchctl pause", user="alice")
    assert "alice" in service.ctl("events")
    (paused,) = service.journal("EVENT=queue-paused")
    assert paused["BY"] == "alice"
