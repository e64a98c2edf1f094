"""The hub's one memory, and the parts into which it is divided.

A part that must grow moves: its next place is twice as large, and the old one is used again for others. The memory
itself never moves, so a view is good for as long as its part stays where it is.
"""

from __future__ import annotations

import ctypes
import threading
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import wasmtime

from wavelock.core.errors import EnvironmentFailure

PAGE_BYTES: Final = 64 << 10
PAGES: Final = (1 << 16) - 1
FIRST_FREE: Final = PAGE_BYTES
"""The first page holds `control`."""


class _SharedMemory(wasmtime.SharedMemory):
    """One that can be imported: the base's `_as_extern` has a pointer too many (wasmtime-py's issue 318)."""

    def _as_extern(self) -> Any:
        ffi = wasmtime._ffi
        union = ffi.wasmtime_extern_union(sharedmemory=self.ptr())
        return ffi.wasmtime_extern_t(ffi.WASMTIME_EXTERN_SHAREDMEMORY, union)


class HubMemory:
    """A shared memory and who has which part of it. Workers may take and give back parts at the same time."""

    def __init__(self, engine: wasmtime.Engine) -> None:
        """engine: of those that use it. Raises EnvironmentFailure where the host has no 4 GiB of address space.

        It is as large as it can be from the start, since an engine that reserves little for agents' memories lets no
        memory grow past that. The host gives memory when it is touched.
        """
        limits = wasmtime.Limits(PAGES, PAGES)
        try:
            self.shared = _SharedMemory(engine, wasmtime.MemoryType(limits, shared=True))
        except wasmtime.WasmtimeError as error:
            raise EnvironmentFailure(f"the hub's memory cannot be made: {error}") from None
        base = ctypes.cast(self.shared.data_ptr(), ctypes.c_void_p).value or 0
        self._whole = np.ctypeslib.as_array((ctypes.c_uint8 * (PAGES * PAGE_BYTES)).from_address(base))
        self._end = FIRST_FREE
        self._free: dict[int, list[int]] = {}
        self._lock = threading.Lock()

    def allocate(self, size: int) -> int:
        """The address of a part of so many bytes, a power of two and whole pages. Its content is not defined.

        Raises EnvironmentFailure where there is no such part left.
        """
        with self._lock:
            free = self._free.get(size)
            if free:
                return free.pop()
            if self._end + size > PAGES * PAGE_BYTES:
                raise EnvironmentFailure(
                    "the mail of this run takes more than the 4 GiB that there are for it; lower limits.mailbox, "
                    "limits.message or the number of agents"
                )
            address, self._end = self._end, self._end + size
            return address

    def free(self, address: int, size: int) -> None:
        """Give a part back."""
        if size:
            with self._lock:
                self._free.setdefault(size, []).append(address)

    def view(self, address: int, size: int) -> npt.NDArray[np.uint8]:
        """The bytes of a part, writable."""
        return self._whole[address : address + size]

    def close(self) -> None:
        """Free the memory: no view of it may be used any more."""
        self.shared.close()


class Part:
    """One part: an array that grows. Its content moves with it."""

    def __init__(self, memory: HubMemory, dtype: npt.DTypeLike) -> None:
        self._memory = memory
        self.dtype = np.dtype(dtype)
        self.address = self.size = 0
        self.array: npt.NDArray[np.generic] = np.zeros(0, self.dtype)

    def need(self, count: int) -> bool:
        """Make room for so many entries. Answers whether the part is somewhere else now."""
        size = count * self.dtype.itemsize
        if size <= self.size:
            return False
        larger = max(PAGE_BYTES, 1 << (size - 1).bit_length())
        address = self._memory.allocate(larger)
        view = self._memory.view(address, larger)
        view[: self.size] = self.array.view(np.uint8)[: self.size]
        self._memory.free(self.address, self.size)
        self.take(address, larger)
        return True

    def take(self, address: int, size: int) -> None:
        """Be this part of the memory from now on."""
        self.address, self.size = address, size
        whole = size // self.dtype.itemsize * self.dtype.itemsize
        self.array = self._memory.view(address, size)[:whole].view(self.dtype)
