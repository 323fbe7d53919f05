"""The bytes of an asset: kept, or made up when they are read, so that a gigabyte costs nothing."""

import hashlib
from collections.abc import Iterator
from functools import cached_property

_BLOCK = 64 << 10


class Content:
    """Either ``data``, or ``size`` bytes that follow from ``seed``."""

    def __init__(self, data: bytes | None = None, *, size: int = 0, seed: str = "") -> None:
        self._data = data
        self.size = len(data) if data is not None else size
        self._seed = seed

    @cached_property
    def _block(self) -> bytes:
        return hashlib.shake_256(self._seed.encode()).digest(_BLOCK)

    def read(self, start: int, stop: int) -> Iterator[bytes]:
        """Yield the bytes from ``start`` up to ``stop``."""
        if self._data is not None:
            yield self._data[start:stop]
            return
        while start < stop:
            offset = start % _BLOCK
            piece = self._block[offset : offset + stop - start]
            yield piece
            start += len(piece)

    @cached_property
    def sha256(self) -> str:
        digest = hashlib.sha256()
        for piece in self.read(0, self.size):
            digest.update(piece)
        return digest.hexdigest()

    def __bytes__(self) -> bytes:
        return b"".join(self.read(0, self.size))
