"""The firmware programs that are served when no workload is: switch off, or wait and ask again.

What they say is written into a slot of fixed size in the served bytes (dispatchd/firmware/efi.h),
so that the length never depends on it.
"""

import hashlib
import struct
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from dispatchd.domain.media import BOOT_TYPES
from dispatchd.errors import ConfigError

SLOT_MAGIC = b"dispatchd-slot1\0"
#: Characters of text in a slot, as UTF-16 code units; the last one stays NUL.
SLOT_TEXT = 256
#: magic, seconds, reserved, text.
_SLOT = struct.Struct(f"<16sII{2 * SLOT_TEXT}s")
#: The largest program of the operator's own, in bytes: it is kept with every promise.
LARGEST = 4 * 1024 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Program:
    """A firmware program ready to be served."""

    name: str
    body: bytes
    media_type: str = BOOT_TYPES["efi"]

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.body).hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class Programs:
    """Both programs, read once. One of the operator's own without a slot is served as it is."""

    _poweroff: bytes
    _wait: bytes

    @classmethod
    def load(cls, *, poweroff: Path | None, wait: Path | None) -> "Programs":
        """Read ours, or the operator's own; raises ConfigError where that cannot be served."""
        return cls(
            _poweroff=_own("poweroff", poweroff) if poweroff else _shipped("poweroff.efi"),
            _wait=_own("wait", wait) if wait else _shipped("wait.efi"),
        )

    def poweroff(self, text: str) -> Program:
        """Says the text and switches the machine off."""
        return Program(name="poweroff.efi", body=fill(self._poweroff, text, seconds=0))

    def wait(self, text: str, *, seconds: int) -> Program:
        """Says the text, waits so many seconds or for a key, and resets the machine."""
        return Program(name="wait.efi", body=fill(self._wait, text, seconds=seconds))


def fill(image: bytes, text: str, *, seconds: int) -> bytes:
    """Write text and seconds into the image's slot, if it has one. The length stays."""
    at = image.find(SLOT_MAGIC)
    if at < 0 or at + _SLOT.size > len(image):
        return image
    # Firmware's console knows UCS-2 (UEFI 2.10 section 12.4), and often only its printable ASCII.
    plain = "".join(char if char.isprintable() and ord(char) < 0xD800 else "?" for char in text)
    encoded = plain[: SLOT_TEXT - 1].encode("utf-16-le")
    slot = _SLOT.pack(SLOT_MAGIC, seconds, 0, encoded)
    return image[:at] + slot + image[at + _SLOT.size :]


def _shipped(name: str) -> bytes:
    return resources.files("dispatchd.firmware").joinpath(name).read_bytes()


def _own(setting: str, path: Path) -> bytes:
    try:
        image = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot use [boot] {setting}: {path}: {error.strerror}") from error
    if not image.startswith(b"MZ"):
        raise ConfigError(
            f"cannot use [boot] {setting}: {path} is no EFI program",
            hint="it must be a PE file for the machines' architecture",
        )
    if len(image) > LARGEST:
        raise ConfigError(
            f"cannot use [boot] {setting}: {path} has {len(image)} bytes, at most {LARGEST} do"
        )
    return image
