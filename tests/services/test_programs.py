"""The firmware programs: what firmware checks in them, and what is written into them."""

import struct
import subprocess
from pathlib import Path

import pytest

import dispatchd.firmware
from dispatchd.errors import ConfigError
from dispatchd.services.programs import SLOT_TEXT, Programs
from tests.requirements import require_programs

FIRMWARE = Path(dispatchd.firmware.__file__).parent


@pytest.fixture
def programs() -> Programs:
    return Programs.load(poweroff=None, wait=None)


@pytest.mark.parametrize("name", ["poweroff.efi", "wait.efi"])
def test_firmware_takes_the_image(name: str) -> None:
    image = (FIRMWARE / name).read_bytes()
    header = struct.unpack_from("<I", image, 0x3C)[0]
    assert image[header : header + 4] == b"PE\0\0"
    machine, sections = struct.unpack_from("<HH", image, header + 4)
    characteristics = struct.unpack_from("<H", image, header + 22)[0]
    optional = header + 24
    magic = struct.unpack_from("<H", image, optional)[0]
    alignment = struct.unpack_from("<I", image, optional + 32)[0]
    subsystem, dll = struct.unpack_from("<HH", image, optional + 68)
    assert (machine, magic, subsystem) == (0x8664, 0x20B, 10)
    # It may be loaded anywhere (relocations not stripped) and where pages are never both.
    assert not characteristics & 0x1
    assert dll & 0x100
    assert alignment >= 4096
    flags = [
        struct.unpack_from("<I", image, optional + 240 + 40 * number + 36)[0]
        for number in range(sections)
    ]
    assert not any(flag & 0x80000000 and flag & 0x20000000 for flag in flags)


@pytest.mark.parametrize("name", ["poweroff.efi", "wait.efi"])
def test_the_shipped_image_is_what_its_source_builds(name: str, tmp_path: Path) -> None:
    require_programs("clang", "ld.lld", "make")
    subprocess.run(["make", "-s", "-C", str(FIRMWARE), f"OUT={tmp_path}"], check=True)
    assert (tmp_path / name).read_bytes() == (FIRMWARE / name).read_bytes()


def test_text_and_seconds_are_in_the_bytes_and_the_length_stays(programs: Programs) -> None:
    one = programs.wait("nothing for epyc-07", seconds=600)
    other = programs.wait("x" * 1000, seconds=1)
    assert "nothing for epyc-07\0".encode("utf-16-le") in one.body
    assert struct.pack("<I", 600) + b"\0\0\0\0" in one.body
    assert ("x" * (SLOT_TEXT - 1) + "\0").encode("utf-16-le") in other.body
    assert len(one.body) == len(other.body)
    assert one.sha256 != other.sha256
    assert one.media_type == "application/efi"


def test_what_a_console_cannot_show_becomes_a_question_mark(programs: Programs) -> None:
    assert "a?b?\0".encode("utf-16-le") in programs.poweroff("a\x1bb🏁").body


def test_a_program_of_ones_own_is_served_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "signed.efi"
    path.write_bytes(b"MZ signed")
    assert Programs.load(poweroff=path, wait=None).poweroff("text").body == b"MZ signed"


@pytest.mark.parametrize("content", [b"#!/bin/sh", b"MZ" + bytes(5 * 1024 * 1024)])
def test_what_cannot_be_a_program_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "own.efi"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"\[boot\] wait: .*own\.efi"):
        Programs.load(poweroff=None, wait=path)
