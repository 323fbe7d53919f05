"""Why the control socket lets somebody in or not, and what to do about it."""

import grp
import os
import pwd
from collections.abc import Collection

#: Whoever is in it may operate dispatchd.
GROUP = "dispatch"


def remedy() -> str:
    """What the caller, who was refused, has to do."""
    try:
        group = grp.getgrnam(GROUP)
        user = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"there is no group {GROUP} here: ask who runs dispatchd"
    return remedy_of(user, groups=os.getgroups(), group=group)


def remedy_of(user: str, *, groups: Collection[int], group: grp.struct_group) -> str:
    """The same for a login of the user that has these groups."""
    if group.gr_gid in groups:
        return f"you are in the group {GROUP}, but the socket is not for it: ls -l tells whose"
    if user in group.gr_mem:
        # A login keeps the groups that it began with.
        return f"{user} is in the group {GROUP}, this login not: log in again, or newgrp {GROUP}"
    return f"sudo adduser {user} {GROUP}, and log in again"
