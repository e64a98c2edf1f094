"""An agent's state as bytes: taken from an instance of one engine, put into one of another.

What is in it: the memory's size and its pages that are not all zero, mutable globals as bits, dropped segments, tables
as function indexes, and where the agent's buffers are. All of it is read and written through the functions that the
deterministic form adds (`core.form.reserved`), so that every engine gives the same bytes for the same state.
"""

from __future__ import annotations

from typing import Final

import msgspec

from wavelock.core.errors import EnvironmentFailure
from wavelock.core.form import reserved
from wavelock.core.form.limits import PAGE_BYTES
from wavelock.core.shard import GroupPlan
from wavelock.wasm_engines.interface import Instance, Trap

_ZEROS: Final = bytes(PAGE_BYTES)


class InstanceState(msgspec.Struct, frozen=True, array_like=True):
    """The state of one instance between two turns.

    module: digest of its deterministic form. pages: the memory's size; page_data: by index, pages that hold something.
    words: hidden state as `reserved.GET` gives it. tables: function indexes, -1 for null; none where they are constant.
    buffers: (inbox_ptr, inbox_cap, outbox_ptr, outbox_cap) as checked when it started.
    """

    module: str
    pages: int
    page_data: dict[int, bytes]
    words: tuple[int, ...]
    tables: tuple[tuple[int, ...], ...]
    buffers: tuple[int, int, int, int]


def capture_instance(instance: Instance, plan: GroupPlan, buffers: tuple[int, int, int, int]) -> InstanceState:
    """The state of an instance that is sound."""
    memory = instance.memory()
    pages = len(memory) // PAGE_BYTES
    found = {}
    for page in range(pages):
        data = memory[page * PAGE_BYTES : (page + 1) * PAGE_BYTES]
        if data != _ZEROS:
            found[page] = bytes(data)
    get = instance.function(reserved.GET)
    return InstanceState(
        module=plan.digest,
        pages=pages,
        page_data=found,
        words=tuple(get(word)[0] for word in range(plan.words)),
        tables=tuple(_capture_table(instance, table, plan.table_types) for table in range(plan.tables)),
        buffers=buffers,
    )


def _capture_table(instance: Instance, table: int, types: int) -> tuple[int, ...]:
    ask = instance.function(reserved.TABLE_GET)
    (size,) = instance.function(reserved.TABLE_SIZE)(table)

    last = 0

    def entry(at: int) -> int:
        nonlocal last
        for kind in (last, *range(types)):  # entries of one type mostly lie together, and a wrong one costs a trap
            try:
                (found,) = ask(table, at, kind)
            except Trap:
                continue  # a function of another type
            last = kind
            return found
        raise EnvironmentFailure(f"entry {at} of table {table} is a function that the module does not name")

    return tuple(entry(at) for at in range(size))


def restore_instance(instance: Instance, plan: GroupPlan, state: InstanceState) -> None:
    """Give a new instance, not started, a state. Raises EnvironmentFailure for a state that is not of this module."""
    if state.module != plan.digest:
        raise EnvironmentFailure(f"{plan.name}: the state is of module {state.module}, expected {plan.digest}")
    _restore_memory(instance, plan, state)
    write = instance.function(reserved.SET)
    for word, value in enumerate(state.words):
        write(word, value)
    for table, entries in enumerate(state.tables):
        put = instance.function(reserved.TABLE_SET)
        for at, function in enumerate(entries):
            put(table, at, function)
    instance.function(reserved.BUDGET)(0)


def _restore_memory(instance: Instance, plan: GroupPlan, state: InstanceState) -> None:
    if state.pages * PAGE_BYTES > plan.memory_bytes:
        most = plan.memory_bytes // PAGE_BYTES
        raise EnvironmentFailure(f"{plan.name}: the state has a memory of {state.pages} pages, expected at most {most}")
    more = state.pages - len(instance.memory()) // PAGE_BYTES
    if more and instance.function(reserved.GROW)(more)[0] < 0:
        raise EnvironmentFailure(f"{plan.name}: the host has no {state.pages} pages for the agent's memory")
    memory = instance.memory()
    for page in range(state.pages):
        data = memory[page * PAGE_BYTES : (page + 1) * PAGE_BYTES]
        wanted = state.page_data.get(page, _ZEROS)
        if data != wanted:
            data[:] = wanted
