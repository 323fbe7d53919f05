"""The service under systemd: what an administrator does to it, and what must not hurt it."""

import pytest

from tests.eventually import eventually
from tests.system.machine import Machine
from tests.system.service import SETTINGS, Service

pytestmark = pytest.mark.system


def test_it_says_its_counts_when_both_faces_serve(service: Service) -> None:
    service.ctl("load", "--dir", service.images("a.efi", "b.efi"))
    eventually(lambda: service.shown("StatusText") == "2 unassigned")


def test_the_sandbox_is_as_tight_as_systemd_can_tell(service: Service) -> None:
    # The figure times ten.
    service.container.run("systemd-analyze", "security", "--threshold=15", "dispatchd")


def test_no_core_dump_could_have_the_token(service: Service) -> None:
    limits = (service.container.run("cat", f"/proc/{service.shown('MainPID')}/limits")).splitlines()
    (core,) = (line for line in limits if line.startswith("Max core file size"))
    assert core.split()[4:6] == ["0", "0"]


def test_a_reload_takes_settings_over_while_it_runs_on(service: Service) -> None:
    pid = service.shown("MainPID")
    service.settings('[queue]\nattempts = 7\n\n[boot]\npath = "/other"\n')
    service.systemctl("reload", "dispatchd")

    def said() -> str:
        return "\n".join(entry["MESSAGE"] for entry in service.journal())

    eventually(lambda: "[boot] path" in said())
    eventually(lambda: service.shown("ActiveState") == "active")
    service.ctl("load", "--dir", service.images("a.efi"))
    assert service.status()["workloads"][0]["attempts"] == 7
    assert service.shown("MainPID") == pid


def test_killed_it_is_back_with_what_it_had(service: Service) -> None:
    service.ctl("load", "--dir", service.images("a.efi"))
    service.systemctl("kill", "--signal=KILL", "dispatchd")
    eventually(lambda: service.shown("NRestarts") == "1")
    eventually(lambda: service.shown("ActiveState") == "active")
    assert service.states() == ["unassigned"]


def test_a_daemon_that_stands_still_is_started_again(service: Service) -> None:
    service.drop_in("dispatchd.service", "[Service]\nWatchdogSec=3\n")
    service.systemctl("restart", "dispatchd")
    pid = service.shown("MainPID")
    service.systemctl("kill", "--signal=STOP", "dispatchd")
    eventually(lambda: service.shown("NRestarts") == "1", within=60)
    eventually(lambda: service.shown("ActiveState") == "active")
    assert service.shown("MainPID") not in ("0", pid)
    assert any("Watchdog timeout" in entry["MESSAGE"] for entry in service.journal())


def test_stopped_it_stays_stopped_whoever_knocks(service: Service, machine: Machine) -> None:
    assert machine.ask("HEAD").status == 200
    service.systemctl("stop", "dispatchd")
    eventually(lambda: is_closed(service))
    with pytest.raises(ConnectionRefusedError):
        machine.ask("HEAD")
    assert service.shown("ActiveState") == "inactive"
    said = service.ctl("status", status=3)
    assert "hint: systemctl status dispatchd" in said


def test_wrong_settings_are_said_once_and_mended_by_a_start(
    service: Service, machine: Machine
) -> None:
    service.settings('[queue]\nidle = "often"\n')
    service.systemctl("restart", "dispatchd", status=1)
    eventually(lambda: is_closed(service))
    with pytest.raises(ConnectionRefusedError):
        machine.ask("HEAD")
    assert service.shown("ExecMainStatus") == "78"
    assert (service.shown("ActiveState"), service.shown("NRestarts")) == ("failed", "0")
    (said,) = (one for one in service.journal() if "idle" in one["MESSAGE"])
    assert SETTINGS in said["MESSAGE"]
    service.settings("")
    service.systemctl("start", "dispatchd")
    assert machine.ask("HEAD").status == 200


def test_port_80_needs_no_privilege_of_the_service(service: Service, machine: Machine) -> None:
    service.systemctl("stop", "dispatchd")
    service.drop_in("dispatchd.socket", "[Socket]\nListenStream=\nListenStream=80\n")
    service.systemctl("start", "dispatchd")
    assert Machine(machine.namespace, port=80).ask("HEAD").status == 200
    assert "http://10.88.0.1:80/dispatch" in service.status()["urls"]


def test_a_backup_is_restored_as_root_and_served_by_the_service(service: Service) -> None:
    service.ctl("load", "--dir", service.images("a.efi"))
    service.ctl("backup", "/root/backup.db")
    service.ctl("cancel", "a.efi")
    service.systemctl("stop", "dispatchd")
    restore = ("dispatchd", "--restore", "/root/backup.db")
    assert "--force" in service.container.run(*restore, status=1)
    service.container.run(*restore, "--force")
    service.systemctl("start", "dispatchd")
    assert service.states() == ["unassigned"]


def test_without_the_socket_unit_the_settings_say_where_it_listens(
    service: Service, machine: Machine
) -> None:
    service.systemctl("mask", "--now", "dispatchd.socket")
    service.settings('[boot]\nlisten = "*:8081"\n')
    service.systemctl("restart", "dispatchd")
    assert Machine(machine.namespace, port=8081).ask("HEAD").status == 200
    with pytest.raises(ConnectionRefusedError):
        machine.ask("HEAD")


def is_closed(service: Service) -> bool:
    """Whether systemd has closed the boot port, which it does after the service."""
    return service.shown("ActiveState", "dispatchd.socket") == "inactive"
