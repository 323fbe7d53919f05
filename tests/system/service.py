"""dispatchd as the Debian package installs it in a container."""

import json
from typing import Any

from tests.system.container import Container

UNITS = ("dispatchd.service", "dispatchd.socket", "dispatchd-control.socket")
SETTINGS = "/etc/dispatchd/dispatchd.toml"


class Service:
    """The service, as an administrator and the users of its machine see it."""

    def __init__(self, container: Container) -> None:
        self.container = container
        self._settings = (container.root / SETTINGS[1:]).read_text()

    def reset(self) -> None:
        """Make it as it was just after the installation, and running."""
        self.systemctl("stop", *UNITS)
        drop_ins = [f"/etc/systemd/system/{unit}.d" for unit in UNITS]
        made = ["/var/lib/dispatchd", "/var/cache/dispatchd", "/etc/credstore", "/srv/images"]
        self.container.run("rm", "-rf", *drop_ins, *made)
        self.container.write(SETTINGS, self._settings)
        self.systemctl("unmask", *UNITS)
        self.systemctl("daemon-reload")
        self.systemctl("reset-failed")
        self.systemctl("start", "dispatchd")

    def settings(self, text: str) -> None:
        """Let these be the settings; they count from the next start."""
        self.container.write(SETTINGS, text)

    def drop_in(self, unit: str, text: str) -> None:
        """Change a unit as `systemctl edit` does."""
        self.container.write(f"/etc/systemd/system/{unit}.d/test.conf", text)
        self.systemctl("daemon-reload")

    def systemctl(self, *words: str, status: int | None = 0) -> str:
        return self.container.run("systemctl", *words, status=status)

    def shown(self, what: str, unit: str = "dispatchd.service") -> str:
        """A property of a unit."""
        return self.systemctl("show", f"--property={what}", "--value", unit).strip()

    def ctl(self, *words: str, status: int = 0, stdin: str = "") -> str:
        """Run dispatchctl as root."""
        return self.container.run("dispatchctl", *words, status=status, stdin=stdin)

    def status(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.ctl("status", "--json"))
        return answer

    def states(self) -> list[str]:
        return [workload["state"] for workload in self.status()["workloads"]]

    def journal(self, *matches: str) -> list[dict[str, str]]:
        """The journal's entries of the unit that match, as FIELD=value."""
        lines = self.container.run("journalctl", "--unit=dispatchd", "--output=json", *matches)
        return [json.loads(line) for line in lines.splitlines() if line.startswith("{")]

    def images(self, *names: str) -> str:
        """Bootable files in a directory that the service may read; the directory."""
        for name in names:
            self.container.write(f"/srv/images/{name}", name * 1000)
        return "/srv/images"
