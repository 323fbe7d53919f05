"""Paths that boot, and assets that can be."""

from dataclasses import dataclass

import pytest

from dispatchd.domain.media import boot_type, parse_boot_path, select


@pytest.mark.parametrize(
    ("path", "machine"),
    [
        ("/dispatch", ""),
        ("/dispatch/", ""),
        ("//dispatch//", ""),
        ("/dispatch.efi", ""),
        ("/dispatch.IMG", ""),
        ("/dispatch/Epyc-07", "epyc-07"),
        ("/dispatch/epyc-07.iso/", "epyc-07"),
        ("/dispatch/mmabc", "mmabc"),
    ],
)
def test_these_paths_boot(path: str, machine: str) -> None:
    parsed = parse_boot_path(path, "/dispatch")
    assert parsed is not None
    assert parsed.machine == machine


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "dispatch",
        "/dispatchd",
        "/other",
        "/dispatch/a/b",
        "/dispatch/..",
        "/dispatch/../x",
        "/dispatch/a\x00b",
        "/dispatch/" + "a" * 64,
        "/dispatch/-a",
        "/dispatch/grubx64.efi",
        "/dispatch/shimx64.efi",
        "/dispatch/mmx64.efi",
        "/dispatch/fbaa64.efi",
        "/dispatch/revocations.efi",
    ],
)
def test_these_do_not(path: str) -> None:
    assert parse_boot_path(path, "/dispatch") is None


@pytest.mark.parametrize(
    ("name", "content_type", "served"),
    [
        ("a", "application/vnd.dispatch+efi", "application/efi"),
        ("a.iso", "Application/VND.Dispatch+EFI; x=y", "application/efi"),
        ("a", "application/vnd.dispatch+iso", "application/vnd.efi-iso"),
        ("a", "application/vnd.dispatch+img", "application/vnd.efi-img"),
        ("a.ISO", "application/octet-stream", "application/vnd.efi-iso"),
        ("a.img", "application/vnd.dispatch+new", "application/vnd.efi-img"),
        ("a.txt", "text/plain", None),
    ],
)
def test_the_media_type_is_the_one_that_firmware_compares(
    name: str, content_type: str, served: str | None
) -> None:
    assert boot_type(name, content_type) == served


@dataclass(frozen=True)
class File:
    name: str
    content_type: str = "application/octet-stream"


MARKED = File("host.efi", "application/vnd.dispatch+efi")
PLAIN, ISO, NOTES = File("guest.efi"), File("disk.iso"), File("notes.txt")


@pytest.mark.parametrize(
    ("files", "all_efi", "rested", "chosen"),
    [
        ([MARKED, PLAIN, ISO, NOTES], False, True, ["host.efi"]),
        ([PLAIN, ISO, NOTES], False, True, ["guest.efi"]),
        ([PLAIN, ISO, NOTES], False, False, []),
        ([MARKED, PLAIN, ISO, NOTES], True, False, ["host.efi", "guest.efi", "disk.iso"]),
    ],
)
def test_marked_assets_are_taken_or_else_all_efi_files(
    files: list[File], all_efi: bool, rested: bool, chosen: list[str]
) -> None:
    taken, _ = select(files, filters=[], all_efi=all_efi, rested=rested)
    assert [file.name for file in taken] == chosen


def test_filters_are_parts_of_names() -> None:
    files = [File(f"host-{name}.efi", MARKED.content_type) for name in ("debian", "ubuntu")]
    taken, _ = select(files, filters=["ubu"], all_efi=False, rested=True)
    assert [file.name for file in taken] == ["host-ubuntu.efi"]
