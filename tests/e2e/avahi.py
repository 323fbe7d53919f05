"""An unmodified Avahi, as the one in a workload, in a network namespace."""

from pathlib import Path

from tests.e2e.netns import Namespace
from tests.eventually import eventually

_BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path={path}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_destination="*"/>
    <allow send_requested_reply="true"/>
    <allow receive_requested_reply="true"/>
    <allow receive_sender="*"/>
  </policy>
</busconfig>
"""

_AVAHI = """[server]
host-name={name}
use-ipv4=yes
use-ipv6=yes
enable-dbus=yes
[publish]
disable-publishing={silent}
[rlimits]
"""


class Avahi:
    """An Avahi with a D-Bus of its own, in a namespace; its /run is its own too."""

    def __init__(self, namespace: Namespace, directory: Path, *, silent: bool = True) -> None:
        directory.mkdir()
        bus = directory / "bus"
        (directory / "bus.conf").write_text(_BUS.format(path=bus))
        (directory / "avahi.conf").write_text(
            _AVAHI.format(name=directory.name, silent="yes" if silent else "no")
        )
        self._namespace = namespace
        self._environ = {"DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={bus}"}
        namespace.start("dbus-daemon", "--nofork", f"--config-file={directory / 'bus.conf'}")
        eventually(bus.exists)
        # `ip netns exec` has given the shell mounts of its own.
        self.process = namespace.start(
            "sh",
            "-c",
            "mount -t tmpfs tmpfs /run && exec avahi-daemon --no-drop-root --no-chroot"
            f" --no-rlimits --file={directory / 'avahi.conf'}",
            environ=self._environ,
        )
        eventually(self._is_ready)

    def services(self) -> set[tuple[str, str, str, str]]:
        """(interface, instance, address, port) of every service found within a moment."""
        return {(line[1], line[3], line[7], line[8]) for line in self._browse() if line[0] == "="}

    def texts(self) -> set[str]:
        """The TXT records found, as avahi-browse writes them."""
        return {line[9] for line in self._browse() if line[0] == "="}

    def _browse(self) -> list[list[str]]:
        output = self._namespace.run(
            "avahi-browse", "-rpt", "_dispatch._tcp", environ=self._environ
        )
        return [line.split(";", 9) for line in output.splitlines()]

    def _is_ready(self) -> bool:
        assert self.process.poll() is None, "avahi-daemon has ended"
        names = self._namespace.run(
            "dbus-send",
            "--system",
            "--print-reply",
            "--dest=org.freedesktop.DBus",
            "/org/freedesktop/DBus",
            "org.freedesktop.DBus.ListNames",
            environ=self._environ,
        )
        return "org.freedesktop.Avahi" in names
