"""What a WORKLOAD on the command line means."""

import pytest

from dispatchctl.selector import match
from dispatchd import wire


def row(identity: int, name: str, pool: str | None = None) -> wire.StatusWorkload:
    return wire.StatusWorkload(
        id=identity,
        name=name,
        pool=pool,
        release="lab/images@v1",
        state="finished",
        reason=None,
        machine=None,
        attempt=0,
        attempts=2,
        size=1,
        sent=0,
        seen=None,
        reports=[],
    )


SHOWN = [
    row(1, "host-debian-13.efi", "7003"),
    row(2, "host-debian-13.efi", "9004"),
    row(3, "host-ubuntu-25.10.efi"),
    row(25, "host-fedora-41.efi"),
]


@pytest.mark.parametrize(
    ("word", "ids"),
    [
        ("3", [3]),
        ("25", [25]),
        ("host-ubuntu-25.10.efi", [3]),
        ("host-debian-13.efi", [1, 2]),
        ("host-debian-13.efi@9004", [2]),
        ("debian", [1, 2]),
        ("@7003", [1]),
        ("host-*-13.efi", [1, 2]),
        ("*@9004", [2]),
        ("ubuntu", [3]),
        ("rocky", []),
        ("41", [25]),
    ],
)
def test_an_exact_name_counts_before_a_part_of_one(word: str, ids: list[int]) -> None:
    assert [one.id for one in match(SHOWN, word)] == ids
