"""Bounds of the deterministic form on what a module may hold, each with its reason.

They are checked before anything grows with the number read. Where an engine has a bound of its own
(wasmparser's `limits.rs`, which V8, SpiderMonkey and JavaScriptCore share), ours is not above it: a module is
then refused here, with a place and a reason, and on every engine alike.
"""

from __future__ import annotations

from typing import Final

MODULE_BYTES: Final = 64 << 20
"""The pass is linear but in Python: 64 MiB is the most that a user would wait for, once per module."""
NAME_BYTES: Final = 100_000
"""The engines' bound on a name."""
TYPES: Final = 100_000
"""A tenth of the engines' bound: function types are small, and a compiler writes each only once."""
IMPORTS: Final = 1_000
"""Known imports are few; this only bounds the list that an error counts."""
FUNCTIONS: Final = 100_000
"""A tenth of the engines' bound; CPython as one module has about 15,000."""
EXPORTS: Final = 100_000
"""At most as many as functions: an export is a name for something that the module has."""
GLOBALS: Final = 100_000
"""A tenth of the engines' bound."""
MUTABLE_GLOBALS: Final = 4_096
"""They are state: each is read and written from outside, one by one. Compilers write one to a few dozen."""
TABLES: Final = 8
"""Compilers write one. Tables lie outside the linear memory that a profile bounds, so they are few."""
TABLE_ENTRIES: Final = 1 << 20
"""A table's entries at first, and as far as it can grow: 8 MiB in an engine. Table contents are state, too."""
BRANCH_TARGETS: Final = 65_536
"""Labels of all br_tables of a module: engines compile each with the metering behind it, about 0.1 ms a label."""
MEMORIES: Final = 1
"""Wasmer has no multi-memory, and an agent is one linear memory."""
PAGE_BYTES: Final = 1 << 16
"""A page of linear memory."""
MEMORY_PAGES: Final = 65_536
"""4 GiB, all that 32-bit addresses reach."""
SEGMENTS: Final = 100_000
"""The engines' bound, for data and for element segments."""
SEGMENT_ENTRIES: Final = 10_000_000
"""As a table's entries: no segment can fill more than a table."""
PARAMETERS: Final = 100
"""The engines' own bound is 1,000, but wasmer's compiler panics where parameters and results pass 4 KiB."""
RESULTS: Final = 100
"""As many."""
LOCALS: Final = 49_950
"""On one function's parameters and locals, a little less than the engines' bound. Five bytes can ask for 2^32 - 1."""
ADDED_LOCALS: Final = 50
"""Of these, so many are kept for the pass, whose own output is read by the same reader."""
FRAMING_BLOCKS: Final = 2
"""Of the nesting, too."""
DROPPED_SEGMENTS: Final = 4_096
"""Segments that code drops: whether it did is state, read and written one by one."""
FUNCTION_BYTES: Final = 7_654_321
"""The engines' bound on one function's body."""
NESTING: Final = 10_000
"""Blocks within blocks. A switch nests one block for each of its cases, so thousands are real; nothing here
recurses, but engines keep a frame for each."""
NATIVE_RATIO: Final = 16
"""Bytes of native stack that a byte of weight (see `costs`) can become, at the worst found on both compilers."""
NATIVE_RESERVE_BYTES: Final = 512 << 10
"""Native stack beside that: one leaf, the functions that the pass adds, and the engine's own."""
