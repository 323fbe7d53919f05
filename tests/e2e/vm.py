"""A bare-metal server for tests: real UEFI firmware (OVMF) in QEMU, without acceleration."""

import re
import struct
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from virt.firmware.efi import devpath
from virt.firmware.varstore import edk2

from tests.eventually import eventually

FIRMWARE = Path("/usr/share/OVMF")
#: User networking's address of the computer that the machine runs on.
HOST = "10.0.2.2"
#: The network card's place on the PCI bus: the boot entry names it.
SLOT = 2


class VirtualMachine:
    """One machine that boots a URL over HTTP, now and after every reset.

    Its boot entry has the full device path, as firmware's own set-up form makes it, so that a
    short-form retry never asks twice. It ends by itself when the firmware powers it off.
    """

    def __init__(self, directory: Path, url: str, *, mac: str = "52:54:00:12:34:56") -> None:
        self._directory = directory
        self._url = url
        self._mac = mac
        self._serial = bytearray()
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._directory.mkdir(parents=True, exist_ok=True)
        variables = self._directory / "variables.fd"
        write_boot_entry(FIRMWARE / "OVMF_VARS_4M.fd", variables, self._url, self._mac)
        self._process = subprocess.Popen(
            [
                "qemu-system-x86_64",
                *("-machine", "q35", "-accel", "tcg", "-cpu", "max", "-m", "1024"),
                *("-display", "none", "-vga", "none", "-monitor", "none", "-serial", "stdio"),
                "-drive",
                f"if=pflash,format=raw,unit=0,readonly=on,file={FIRMWARE}/OVMF_CODE_4M.fd",
                *("-drive", f"if=pflash,format=raw,unit=1,file={variables}"),
                *("-netdev", "user,id=net"),
                # No option ROM: it would bring iPXE. Newer firmware has no network without an RNG.
                *("-device", f"virtio-net-pci,netdev=net,romfile=,mac={self._mac},addr={SLOT}"),
                *("-device", "virtio-rng-pci"),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        reader = threading.Thread(target=self._read, args=[self._process.stdout], daemon=True)
        reader.start()
        self._reader = reader
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._process is not None
        assert self._reader is not None
        self._process.kill()
        self._process.wait()
        self._reader.join()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()

    def serial(self) -> str:
        """All that was printed on the console so far, without terminal commands."""
        text = bytes(self._serial).decode(errors="replace")
        return re.sub(r"\x1b\[[0-9;?=]*[A-Za-z]", "", text)

    def wait_for(self, words: str, *, within: float = 120) -> None:
        """Wait until the words are on the console."""
        self._wait(lambda: words in self.serial(), words, within)

    def wait_for_exit(self, *, within: float = 300) -> int:
        """Wait until the machine has switched itself off; the exit status of QEMU."""
        assert self._process is not None
        process = self._process
        self._wait(lambda: process.poll() is not None, "the power going off", within)
        return process.returncode

    def press(self, key: str) -> None:
        """Press a key on the console."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(key.encode())
        self._process.stdin.flush()

    def _wait(self, look: Callable[[], bool], what: str, within: float) -> None:
        try:
            eventually(look, within=within)
        except AssertionError:
            raise AssertionError(f"no {what!r} on the console:\n{self.serial()}") from None

    def _read(self, stream: IO[bytes]) -> None:
        while chunk := stream.read1(4096):  # type: ignore[attr-defined]
            self._serial += chunk


def write_boot_entry(template: Path, target: Path, url: str, mac: str) -> None:
    """Copy a variable store, with one boot entry in it: HTTP boot of the URL over IPv4."""
    path = devpath.DevicePath()
    for kind, subtype, data in (
        (2, 0x01, struct.pack("<LL", 0x0A0341D0, 0)),  # PciRoot(0)
        (1, 0x01, struct.pack("<BB", 0, SLOT)),  # Pci(SLOT, 0)
        (3, 0x0B, bytes.fromhex(mac.replace(":", "")).ljust(32, b"\0") + b"\1"),  # MAC
        (3, 0x0C, bytes(23)),  # IPv4 by DHCP
        (3, 0x18, url.encode()),  # Uri
    ):
        element = devpath.DevicePathElem()
        element.devtype, element.subtype, element.data = kind, subtype, data
        path.append(element)
    store = edk2.Edk2VarStore(str(template))
    variables = store.get_varlist()
    variables.set_boot_entry(1, "HTTP boot", path)
    variables.append_boot_order(1)
    store.write_varstore(str(target), variables)
