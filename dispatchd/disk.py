"""What is on disk for sure, whatever the power does next."""

import os
from pathlib import Path


def synced(path: Path) -> None:
    """Put a file, or a directory's entries, on disk: a rename is safe only then."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
