"""wasmtime as an engine: configuration, compilation with a disk cache, and shards.

wasmtime's own fuel and NaN canonicalisation are off, and its stack limit is far away: modules carry all of that.
"""

from __future__ import annotations

import mmap
import threading
from collections.abc import Collection, Sequence
from typing import Final

import wasmtime

from wavelock.core.cache import ModuleCache
from wavelock.core.errors import EnvironmentFailure, ModuleError
from wavelock.core.form.features import TAIL_CALL
from wavelock.core.form.limits import PAGE_BYTES, TABLES
from wavelock.core.homes import Homes
from wavelock.core.mailboxes import Mailboxes
from wavelock.core.shard import GroupPlan, Shard
from wavelock.core.units import format_bytes
from wavelock.wasm_engines.hub.courier import courier_module
from wavelock.wasm_engines.hub.instance import configure_for_hub
from wavelock.wasm_engines.hub.mailboxes import HubMailboxes
from wavelock.wasm_engines.hub.shard import HubShard
from wavelock.wasm_engines.loop import LoopShard
from wavelock.wasm_engines.wasmtime_instance import alone
from wavelock.wasm_engines.wasmtime_modules import compiled, trust

GUARDED_AGENTS: Final = 4096
"""Above this many agents `auto` takes the dense layout: address space and mappings run out some way past 10,000."""
POOL_FACTOR: Final = 3
POOL_SPARE: Final = 1024
POOL_MANY: Final = 100_000
"""Above so many agents there are two tables for each: what a pool keeps of its tables grows with their number."""
POOL_TABLE_ENTRIES: Final = 20_000
"""What a table may hold in a pool."""
POOL_INSTANCE_BYTES: Final = 16 << 20
"""What an instance's own structures may take in a pool: they grow with a module's functions and globals."""
_UNUSED: Final = ("tail_call", "memory64", "multi_memory", "gc", "function_references", "exceptions", "threads")
_FOR_HUB: Final = {"multi_memory", "threads"}
"""What the hub needs. Agents' modules have none of it: the deterministic form sees to that."""


class WasmtimeEngine:
    """The engine. One wasmtime `Engine` a memory layout; compiled modules are shared by all shards of a process."""

    def __init__(self, *, cache: bool, memory_layout: str) -> None:
        self._lock = threading.RLock()
        self._cache, self._hub_cache = (ModuleCache(name) if cache else None for name in ("wasmtime", "hub"))
        self._layout = memory_layout
        self._stack_bytes = 512 << 10
        self._agents = 0
        self._features: frozenset[str] = frozenset()
        self._engine: wasmtime.Engine | None = None
        self._modules: dict[str, wasmtime.Module] = {}
        self._reservation = 0
        self._in_hub = False
        self._mailboxes: HubMailboxes | None = None
        self._couriers: dict[int, wasmtime.Module] = {}

    @property
    def version(self) -> str:
        """wasmtime's version."""
        from importlib import metadata

        return metadata.version("wasmtime")

    features: Final = frozenset((TAIL_CALL,))
    """See `interface.Engine`."""

    def configure(self, *, agents: int, stack_bytes: int, memory_bytes: int, features: Collection[str] = ()) -> None:
        """See `interface.Engine`."""
        self._features = frozenset(features)
        self._agents, self._stack_bytes = agents, stack_bytes
        self._reservation = -(-memory_bytes // PAGE_BYTES) * PAGE_BYTES

    @property
    def memory_layout(self) -> str:
        """`guarded` or `dense`: what `auto` came to."""
        if self._layout != "auto":
            return self._layout
        return "dense" if self._agents > GUARDED_AGENTS else "guarded"

    def _opened(self) -> wasmtime.Engine:
        with self._lock:
            if self._engine is None:
                self._engine = wasmtime.Engine(self._config())
            return self._engine

    def _compiler(self) -> wasmtime.Engine:
        """Compiles the hub's own modules for the engine."""
        config = self._config(pooled=False)
        trust(config)
        return wasmtime.Engine(config)

    def _config(self, *, pooled: bool = True) -> wasmtime.Config:
        config = wasmtime.Config()
        config.max_wasm_stack = self._stack_bytes
        # wasmtime aborts the process where the stack of async calls, which we make none of, is not larger.
        wasmtime._ffi.wasmtime_config_async_stack_size_set(config.ptr(), 2 * self._stack_bytes + (1 << 20))
        config.wasm_relaxed_simd = False
        unused = set(_UNUSED) - {feature.replace("-", "_") for feature in self._features}
        if self._in_hub:
            configure_for_hub(config)
            unused -= _FOR_HUB
        for feature in sorted(unused):
            getattr(wasmtime._ffi, f"wasmtime_config_wasm_{feature}_set")(config.ptr(), False)
        wasmtime._ffi.wasmtime_config_wasm_branch_hinting_set(config.ptr(), True)
        if self.memory_layout == "dense":
            # A memory that may not move can be viewed once and for all; its growth ends with the reservation.
            wasmtime._ffi.wasmtime_config_memory_reservation_set(config.ptr(), self._reservation)
            wasmtime._ffi.wasmtime_config_memory_guard_size_set(config.ptr(), 0)
            if self._in_hub:
                # A copy-on-write image is a mapping for each instance, of which Linux allows some 65,000.
                wasmtime._ffi.wasmtime_config_memory_init_cow_set(config.ptr(), False)
            if self._in_hub and pooled:
                self._use_pool(config)
        wasmtime._ffi.wasmtime_config_memory_may_move_set(config.ptr(), False)
        return config

    def _use_pool(self, config: wasmtime.Config) -> None:
        """Take instances and memories from one pool each: one mapping for all, and no call of the host for one."""
        ffi = wasmtime._ffi
        # Instances that are over, and those that move to another store, are there as well (see `HubShard`).
        instances = POOL_FACTOR * self._agents + POOL_SPARE
        check_address_space(instances * self._reservation)
        pool = ffi.wasmtime_pooling_allocation_config_new()
        for name, value in {
            "total_memories": instances,
            # With a courier for each, and a second one for those whose start trapped.
            "total_core_instances": 3 * instances,
            "total_tables": instances * (TABLES if self._agents <= POOL_MANY else 2),
            "total_stacks": 1,
            "max_memory_size": self._reservation,
            "max_core_instance_size": POOL_INSTANCE_BYTES,
            "max_tables_per_module": TABLES,
            "table_elements": POOL_TABLE_ENTRIES,
            "max_unused_warm_slots": 0,
        }.items():
            getattr(ffi, f"wasmtime_pooling_allocation_config_{name}_set")(pool, value)
        ffi.wasmtime_pooling_allocation_strategy_set(config.ptr(), pool)
        ffi.wasmtime_pooling_allocation_config_delete(pool)

    def _module(self, plan: GroupPlan) -> wasmtime.Module:
        with self._lock:
            if plan.digest not in self._modules:
                self._modules[plan.digest] = self._compile(plan)
            return self._modules[plan.digest]

    def _compile(self, plan: GroupPlan) -> wasmtime.Module:
        try:
            return compiled(self._opened(), self._cache, f"{plan.digest} {self._key}", plan.module)
        except wasmtime.WasmtimeError as error:
            raise ModuleError(f"{plan.name}: wasmtime cannot compile the module: {_first_line(error)}") from None

    def open_shard(self, groups: Sequence[GroupPlan], worker: int = 0) -> Shard:
        """See `interface.Engine`."""
        engine, modules = self._opened(), [self._module(plan) for plan in groups]
        if self._mailboxes is not None:
            return HubShard(self._mailboxes, self._courier, groups, modules, worker)
        return LoopShard(groups, lambda group: alone(engine, modules[group], groups[group]))

    def mailboxes(self, homes: Homes) -> Mailboxes:
        """See `interface.Engine`. Shards opened from now on reach them."""
        self._in_hub = True
        self._mailboxes = HubMailboxes(
            self._opened(), self._hub_cache, self._key, homes, shared=True, compiler=self._compiler
        )
        return self._mailboxes

    def _courier(self, agents: int) -> wasmtime.Module:
        with self._lock:
            if agents not in self._couriers:
                self._couriers[agents] = courier_module(
                    self._opened(), self._hub_cache, self._key, agents, self._compiler
                )
            return self._couriers[agents]

    @property
    def _key(self) -> str:
        """What tells one configuration from another."""
        layout = f"{self.memory_layout} {self._reservation} {self._stack_bytes}"
        return f"{layout} {sorted(self._features)} {'hub' if self._in_hub else 'alone'}"

    def close(self) -> None:
        """See `interface.Engine`."""
        with self._lock:
            for module in (*self._modules.values(), *self._couriers.values()):
                module.close()
            self._modules.clear()
            self._couriers.clear()
            if self._engine is not None:
                self._engine.close()
                self._engine = None


def check_address_space(size: int) -> None:
    """Ask for so much address space and give it back: wasmtime ends the process where it gets none for a pool.

    Raises EnvironmentFailure.
    """
    if not hasattr(mmap, "MAP_PRIVATE"):
        return  # Windows has none to spare for a question
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)
    try:
        mmap.mmap(-1, size, flags=flags, prot=0).close()
    except (OSError, OverflowError, ValueError):
        raise EnvironmentFailure(
            f"the host has no {format_bytes(size)} of address space for the agents' memories; lower limits.memory or "
            'limits.agents, or set engine.memory_layout = "guarded"'
        ) from None


def assemble_text(text: str, name: str) -> bytes:
    """WebAssembly text to a module. Raises ModuleError, beginning with `name`, with the line that is wrong."""
    try:
        return bytes(wasmtime.wat2wasm(text))
    except wasmtime.WasmtimeError as error:
        raise ModuleError(f"{name}: not WebAssembly text: {error}") from None


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return ": ".join(line for line in lines if line != "Caused by:") or type(error).__name__
