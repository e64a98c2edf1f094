"""A linear memory. It never moves: the address space for its largest size is taken at once, its pages when touched."""

from __future__ import annotations

import mmap
import sys

from wavelock.core.abi import Fault
from wavelock.core.errors import EnvironmentFailure
from wavelock.core.form.limits import PAGE_BYTES
from wavelock.wasm_engines.interface import Trap


class Memory:
    """A memory of `minimum` pages that may grow to `maximum`. Addresses are bytes; every access is checked first."""

    def __init__(self, minimum: int, maximum: int) -> None:
        self._bytes = _reserved(maximum * PAGE_BYTES)
        self._maximum = maximum
        self.size = minimum * PAGE_BYTES
        """Bytes that there are now."""
        self.refused = False
        """Whether a growth was refused since somebody last set this to False."""

    @property
    def pages(self) -> int:
        """The size in pages."""
        return self.size // PAGE_BYTES

    def view(self) -> memoryview:
        """All bytes that there are now, writable. Good for as long as it is held, also after growth."""
        return memoryview(self._bytes)[: self.size]

    def check(self, address: int, length: int) -> None:
        """Traps unless [address, address + length) is inside."""
        if address + length > self.size:
            raise Trap(Fault.MEMORY_BOUNDS)

    def load(self, address: int, length: int) -> int:
        """`length` bytes as an unsigned integer, the lowest byte first."""
        end = address + length
        if end > self.size:
            raise Trap(Fault.MEMORY_BOUNDS)
        return int.from_bytes(self._bytes[address:end], "little")

    def store(self, address: int, length: int, value: int) -> None:
        """The lowest `length` bytes of a value."""
        end = address + length
        if end > self.size:
            raise Trap(Fault.MEMORY_BOUNDS)
        self._bytes[address:end] = (value & ((1 << 8 * length) - 1)).to_bytes(length, "little")

    def write(self, address: int, data: bytes) -> None:
        """Bytes as they are."""
        self.check(address, len(data))
        self._bytes[address : address + len(data)] = data

    def fill(self, address: int, value: int, length: int) -> None:
        """memory.fill."""
        self.check(address, length)
        self._bytes[address : address + length] = bytes((value & 0xFF,)) * length

    def copy(self, target: int, source: int, length: int) -> None:
        """memory.copy: the two places may overlap."""
        self.check(max(target, source), length)
        self._bytes.move(target, source, length)

    def init(self, target: int, data: bytes, source: int, length: int) -> None:
        """memory.init: a part of a data segment."""
        if source + length > len(data):
            raise Trap(Fault.MEMORY_BOUNDS)
        self.write(target, data[source : source + length])

    def grow(self, pages: int) -> int:
        """The size before, in pages; or -1, with `refused` set, where it would pass the maximum."""
        before = self.pages
        if before + pages > self._maximum:
            self.refused = True
            return -1
        self.size += pages * PAGE_BYTES
        return before


def _reserved(length: int) -> mmap.mmap:
    """Zeros that take no memory until they are touched."""
    length = max(length, 1)  # an empty mapping is an error
    try:
        if sys.platform == "win32":
            return mmap.mmap(-1, length)
        return mmap.mmap(-1, length, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except (OSError, MemoryError) as error:
        raise EnvironmentFailure(f"the reference engine cannot reserve {length} bytes for a memory: {error}") from None
