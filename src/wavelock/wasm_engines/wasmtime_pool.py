"""The pool of the dense layout: one mapping for the memories of very many agents.

wasmtime makes of a pool's mapping just as much accessible as each memory has. Where memories may grow, that leaves two
mappings an agent, and Linux allows a process some 65,000. So there all of a pool is made accessible at once, which
takes the host nothing until it is written to, and again after places were used anew. Nothing relies on what is not
accessible: compiled code compares every address with the length of the memory (see `WasmtimeEngine`).
"""

from __future__ import annotations

import ctypes
import mmap
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

import wasmtime
from wasmtime import _ffi as ffi

from wavelock.core.errors import EnvironmentFailure
from wavelock.core.form.limits import PAGE_BYTES, TABLES
from wavelock.core.units import format_bytes

POOL_FACTOR: Final = 3
POOL_SPARE: Final = 1024
POOL_MANY: Final = 100_000
"""Above so many agents there are two tables for each: what a pool keeps of its tables grows with their number."""
POOL_TABLE_ENTRIES: Final = 20_000
"""What a table may hold in a pool."""
POOL_INSTANCE_BYTES: Final = 16 << 20
"""What an instance's own structures may take in a pool: they grow with a module's functions and globals."""
_ENTRY_BYTES: Final = 8
"""What an entry of a table takes."""
_LARGEST: Final = (1 << 32) - PAGE_BYTES
"""Of a place. In one of 4 GiB no memory can ever move, and code relies on what is not accessible after all."""
MADE_MANY: Final = 1024
"""After so many instances everything is made accessible again."""
_NO_RESERVE: Final = getattr(mmap, "MAP_NORESERVE", 0x4000 if sys.platform == "linux" else 0)
"""Python knows it from 3.13 on."""
_PROBE: Final = """(module (memory (export "memory") %d)
  (func (export "read") (param i32) (result i32) (i32.load8_u (local.get 0))))"""
"""The first instance of a pool: it has the first place, and sees whether code keeps to its memory."""


class PoolMemory:
    """The memories of a pool that nothing was taken from yet."""

    def __init__(self, engine: wasmtime.Engine, places: int, reservation: int, *, fixed: bool) -> None:
        """reservation: bytes of each of its places. fixed: each memory has just that size."""
        self._lock = threading.Lock()
        self._made = 0
        self._size = places * reservation
        self._address = 0
        if reservation <= _LARGEST and _may_have_all():
            self._open(engine, reservation, fixed)

    def _open(self, engine: wasmtime.Engine, reservation: int, fixed: bool) -> None:
        """Make all of it accessible where that is seen to open nothing to agents."""
        with wasmtime.Store(engine) as store:
            pages = reservation // PAGE_BYTES if fixed else 0
            exports = wasmtime.Instance(store, wasmtime.Module(engine, _PROBE % pages), []).exports(store)
            memory, read = exports["memory"], exports["read"]
            assert isinstance(memory, wasmtime.Memory)
            assert isinstance(read, wasmtime.Func)
            first = ctypes.cast(memory.data_ptr(store), ctypes.c_void_p).value or 0
            own = memory.data_len(store)
            if _reserved_from(first + own) < self._size - own:
                return
            self._address = first
            # Of most memories one page is touched. A host that gives large pages unasked would take many times that.
            _host("madvise", first, self._size, getattr(mmap, "MADV_NOHUGEPAGE", 15))
            self.make_accessible()
            if any(_reads(store, read, address) for address in (own, max(own, reservation - 1))):
                self._address = 0
                _host("mprotect", first + own, self._size - own, 0)

    def make_accessible(self) -> bool:
        """Make all of it accessible, as one mapping. Answers whether that was done.

        It is not where mappings are not counted (macOS, Windows), where code relies on what is not accessible, and
        where the host does not let so much be (strict overcommitment, a limit of the process): then wasmtime does it
        for each memory, as far as it goes.
        """
        return self._address != 0 and _host("mprotect", self._address, self._size, mmap.PROT_READ | mmap.PROT_WRITE)

    def made(self, count: int) -> None:
        """So many instances were made, by any thread: places that are used anew leave two mappings each."""
        if not self._address:
            return
        with self._lock:
            self._made += count
            many, self._made = self._made >= MADE_MANY, self._made % MADE_MANY
        if many:
            self.make_accessible()

    def close(self) -> None:
        """Touch it no more: it is about to go."""
        self._address = 0


def pooled_engine(
    config: wasmtime.Config, agents: int, reservation: int, *, fixed: bool
) -> tuple[wasmtime.Engine, PoolMemory]:
    """An engine that takes instances and memories from one pool each: one mapping for all.

    agents: that can be alive at once. reservation: bytes of address space for the memory of each; fixed: which has just
    that size. Raises EnvironmentFailure where the host has no room for all of them.
    """
    # Instances that are over, and those that move to another store, are there as well (see `HubShard`).
    instances = POOL_FACTOR * agents + POOL_SPARE
    tables = instances * (TABLES if agents <= POOL_MANY else 2)
    table_bytes = -(-POOL_TABLE_ENTRIES * _ENTRY_BYTES // mmap.PAGESIZE) * mmap.PAGESIZE
    _check_address_space(instances * reservation, tables * table_bytes)
    pool = ffi.wasmtime_pooling_allocation_config_new()
    for name, value in {
        "total_memories": instances,
        # With a courier for each, and a second one for those whose start trapped.
        "total_core_instances": 3 * instances,
        "total_tables": tables,
        "total_stacks": 1,
        "max_memory_size": reservation,
        "max_core_instance_size": POOL_INSTANCE_BYTES,
        "max_tables_per_module": TABLES,
        "table_elements": POOL_TABLE_ENTRIES,
        "max_unused_warm_slots": 0,
    }.items():
        getattr(ffi, f"wasmtime_pooling_allocation_config_{name}_set")(pool, value)
    ffi.wasmtime_pooling_allocation_strategy_set(config.ptr(), pool)
    ffi.wasmtime_pooling_allocation_config_delete(pool)
    engine = wasmtime.Engine(config)
    return engine, PoolMemory(engine, instances, reservation, fixed=fixed)


def _reads(store: wasmtime.Store, read: wasmtime.Func, address: int) -> bool:
    """Whether code can read behind its memory."""
    try:
        read(store, address)
    except wasmtime.Trap:
        return False
    return True


def _check_address_space(memories: int, tables: int) -> None:
    """Ask for so much address space and give it back: wasmtime ends the process where it gets none for a pool.

    memories, tables: bytes; only tables can be written to. Raises EnvironmentFailure.
    """
    if not hasattr(mmap, "MAP_PRIVATE"):
        return  # Windows has none to spare for a question
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NO_RESERVE
    try:
        with mmap.mmap(-1, max(memories, 1), flags=flags, prot=0):
            mmap.mmap(-1, tables, flags=flags, prot=mmap.PROT_READ | mmap.PROT_WRITE).close()
    except (OSError, OverflowError, ValueError):
        raise EnvironmentFailure(
            f"the host has no {format_bytes(memories)} of address space for the agents' memories and "
            f"{format_bytes(tables)} for their tables; lower limits.memory or limits.agents, raise what a process may "
            'have (ulimit -v, ulimit -d), or set engine.memory_layout = "guarded"'
        ) from None


def _may_have_all() -> bool:
    """Whether what is accessible and never touched counts for nothing. A limit on data (`ulimit -d`) counts it."""
    if sys.platform != "linux":
        return False
    import resource

    return resource.getrlimit(resource.RLIMIT_DATA)[0] == resource.RLIM_INFINITY


def _reserved_from(address: int) -> int:
    """How many bytes from an address on are of one mapping without content that may not be accessed."""
    with suppress(OSError), Path("/proc/self/maps").open(encoding="ascii", errors="replace") as maps:  # see proc(5)
        for line in maps:
            span, access, _, _, inode, *_ = line.split(maxsplit=5)
            start, end = (int(edge, 16) for edge in span.split("-"))
            if start <= address < end and (access, inode) == ("---p", "0"):
                return end - address
    return 0


def _host(name: str, address: int, size: int, value: int) -> bool:
    """Call a function of the system's library about a mapping. Answers whether it did what it was asked."""
    done: int = getattr(ctypes.CDLL(None), name)(ctypes.c_void_p(address), ctypes.c_size_t(size), value)
    return done == 0
