"""What somebody is told whom the control socket does not let in."""

import grp

import pytest

from dispatchctl.access import remedy_of

GROUP = grp.struct_group(("dispatch", "x", 990, ["alice"]))


@pytest.mark.parametrize(
    ("user", "groups", "said"),
    [
        ("bob", [1000], "sudo adduser bob dispatch, and log in again"),
        (
            "alice",
            [1000],
            "alice is in the group dispatch, this login not: log in again",
        ),
        ("alice", [1000, 990], "you are in the group dispatch, but the socket is not for it"),
    ],
)
def test_the_remedy_depends_on_the_group_and_on_the_login(
    user: str, groups: list[int], said: str
) -> None:
    assert remedy_of(user, groups=groups, group=GROUP).startswith(said)
