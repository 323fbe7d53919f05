"""File kinds, asset selection and boot paths: what firmware accepts and what people mean.

The three media types are the ones that EDK2's HTTP boot client compares the whole value with
(NetworkPkg/HttpBootDxe/HttpBootDxe.h).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

BOOT_TYPES = {
    "efi": "application/efi",
    "iso": "application/vnd.efi-iso",
    "img": "application/vnd.efi-img",
}
DISPATCH_PREFIX = "application/vnd.dispatch+"
MACHINE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
#: What shim and GRUB fetch next to the file they were booted from; never a machine.
SECOND_FETCH = re.compile(
    r"grub.*|shim.*|revocations.*|(mm|fb)(x64|ia32|aa64|arm|riscv64|loongarch64)"
)
EXTENSION = re.compile(r"\.(efi|iso|img)$", re.IGNORECASE)


class Candidate(Protocol):
    """What selection looks at."""

    @property
    def name(self) -> str: ...
    @property
    def content_type(self) -> str: ...


C = TypeVar("C", bound=Candidate)


@dataclass(frozen=True, kw_only=True, slots=True)
class BootPath:
    """A request path of the boot face: the machine's name in lower case, or empty."""

    machine: str


def parse_boot_path(path: str, prefix: str) -> BootPath | None:
    """Read a request path (without query), or None where nothing is served.

    A trailing or doubled slash and one of the three extensions, in any case, are as good as absent:
    some firmware insists on them.
    """
    parts = [part for part in path.split("/") if part]
    wanted = [part for part in prefix.split("/") if part]
    if not parts or not path.startswith("/"):
        return None
    parts[-1] = EXTENSION.sub("", parts[-1])
    rest = parts[len(wanted) :]
    if parts[: len(wanted)] != wanted or len(rest) > 1:
        return None
    name = rest[0].lower() if rest else ""
    if name and (not MACHINE_NAME.fullmatch(name) or SECOND_FETCH.fullmatch(name)):
        return None
    return BootPath(machine=name)


def boot_type(name: str, content_type: str) -> str | None:
    """The media type to serve an asset with, by its content type, else its extension."""
    bare = content_type.partition(";")[0].strip().lower()
    if bare in BOOT_TYPES.values():
        return bare
    if bare.startswith(DISPATCH_PREFIX):
        kind = bare.removeprefix(DISPATCH_PREFIX)
        if kind in BOOT_TYPES:
            return BOOT_TYPES[kind]
    extension = EXTENSION.search(name)
    return BOOT_TYPES[extension[1].lower()] if extension else None


def is_marked(content_type: str) -> bool:
    """Whether the uploader marked the asset as one for dispatch."""
    return content_type.partition(";")[0].strip().lower().startswith(DISPATCH_PREFIX)


def select(
    assets: Sequence[C], *, filters: Sequence[str], all_efi: bool, rested: bool
) -> tuple[list[C], str]:
    """The bootable assets whose names contain one of the filters, and a note for people.

    Marked assets count. Where a release that has ``rested`` has none, its ``*.efi`` do; ``all_efi``
    takes every ``*.efi``, ``*.iso`` and ``*.img`` at once.
    """
    note = ""
    marked = [asset for asset in assets if is_marked(asset.content_type)]
    if all_efi:
        chosen = [
            asset
            for asset in assets
            if is_marked(asset.content_type) or EXTENSION.search(asset.name)
        ]
    elif marked or not rested:
        chosen = marked
    else:
        chosen = [asset for asset in assets if asset.name.lower().endswith(".efi")]
        if chosen:
            note = f"no asset is marked {DISPATCH_PREFIX}*: taking all *.efi"
    if filters:
        chosen = [asset for asset in chosen if any(word in asset.name for word in filters)]
    return [asset for asset in chosen if boot_type(asset.name, asset.content_type)], note
