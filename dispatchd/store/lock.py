"""The state directory belongs to one daemon at a time."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dispatchd.errors import StoreError


@contextmanager
def locked(state_dir: Path) -> Iterator[None]:
    """Make the state directory, and ours alone; raises StoreError where it is another's."""
    try:
        state_dir.mkdir(mode=0o750, parents=True, exist_ok=True)
        descriptor = os.open(state_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(
            f"cannot use the state directory {state_dir}: {error.strerror}",
            hint="the user that runs dispatchd must be able to write there, or set state_dir",
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise StoreError(
            f"cannot use the state directory {state_dir}: another dispatchd runs on it",
            hint="stop that one first (systemctl stop dispatchd), or set state_dir",
        ) from error
    try:
        yield
    finally:
        os.close(descriptor)
