"""What the pass adds to a module: four globals, and functions in readable text that are made when they are needed.

Everything is appended behind the module's own types, functions and globals, so that no index of the module shifts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from wavelock.core.abi import EXPORT_ABI, EXPORT_INITIALIZE, EXPORT_TURN, Fault
from wavelock.core.form import costs, limits, reserved
from wavelock.core.form.atomics import atomic_helper
from wavelock.core.form.emit import assemble, function_body, name, signed, unsigned
from wavelock.core.form.helper import Helper
from wavelock.core.form.module import Module
from wavelock.core.form.options import FormOptions
from wavelock.core.form.state import StateLayout
from wavelock.core.form.types import FunctionType

_GLOBALS: Final = ("fuel", "depth", "refused", "fault")
"""What a turn writes lies together: to look at the first and the last of it is to look at all."""
_CHECK: Final = "global.get fuel i64.const 0 i64.lt_s if void call out_of_fuel unreachable end"
_PAST_LIMIT: Final = "memory.size i64.extend_i32_u local.get 0 i64.extend_i32_u i64.add i64.const MOST_PAGES i64.gt_u"
_HELPERS: Final[Mapping[str, Helper]] = {
    "out_of_fuel": Helper(
        b"", b"", b"", "i64.const 0 global.set fuel i32.const FUEL global.set fault unreachable"
    ),
    "too_deep": Helper(b"", b"", b"", "i32.const DEPTH global.set fault unreachable"),
    "misaligned": Helper(b"", b"", b"", "i32.const MISALIGNED global.set fault unreachable"),
    "charge": Helper(
        b"\x7e", b"", b"",
        """
        global.get fuel local.get 0 i64.sub global.set fuel
        call check
        """,
    ),
    "check": Helper(b"", b"", b"", _CHECK),
    "charge_bytes": Helper(
        b"\x7f", b"\x7f", b"",
        "local.get 0 i64.extend_i32_u i64.const BYTE_SHIFT i64.shr_u call charge local.get 0",
    ),
    "charge_entries": Helper(
        b"\x7f", b"\x7f", b"",
        "local.get 0 i64.extend_i32_u i64.const ENTRY_UNITS i64.mul call charge local.get 0",
    ),
    "grow": Helper(
        b"\x7f", b"\x7f", b"",
        f"""
        local.get 0 i64.extend_i32_u i64.const PAGE_UNITS i64.mul call charge
        {_PAST_LIMIT}
        if void
          i32.const 1 global.set refused
          i32.const -1 return
        end
        local.get 0 memory.grow local.tee 0 i32.const -1 i32.eq
        if void
          i32.const HOST_MEMORY global.set fault
          unreachable
        end
        local.get 0
        """,
    ),
    "table_grow": Helper(
        b"\x70\x7f", b"\x7f", b"",
        """
        local.get 1 i64.extend_i32_u i64.const ENTRY_UNITS i64.mul call charge
        table.size TABLE i64.extend_i32_u local.get 1 i64.extend_i32_u i64.add i64.const MOST_ENTRIES i64.gt_u
        if void
          i32.const -1 return
        end
        local.get 0 local.get 1 table.grow TABLE local.tee 1 i32.const -1 i32.eq
        if void
          i32.const HOST_MEMORY global.set fault
          unreachable
        end
        local.get 1
        """,
    ),
    "grow_freely": Helper(
        b"\x7f", b"\x7f", b"",
        f"{_PAST_LIMIT} if void i32.const -1 return end local.get 0 memory.grow",
        reserved.GROW,
    ),
    "budget": Helper(
        b"\x7e", b"", b"",
        """
        NO_PROBE
        local.get 0 global.set fuel
        i32.const STACK global.set depth
        i32.const 0 global.set fault
        i32.const 0 global.set refused
        """,
        reserved.BUDGET,
    ),
    "left": Helper(b"", b"\x7e", b"", "call check global.get fuel", reserved.LEFT),
    "turn": Helper(
        b"\x7f\x7e", b"\x7f\x7e", b"",
        # First the look, which writes nothing. `budget` and `check` are written out, as this is where every turn begins
        # and ends. No turn follows a fault.
        f"""
        local.get 1 i64.const 0 i64.lt_s if void global.get refused global.get fuel return end
        NO_PROBE
        local.get 1 global.set fuel
        i32.const STACK global.set depth
        i32.const 0 global.set refused
        local.get 0 call wavelock_turn
        {_CHECK} global.get fuel
        """,
        reserved.TURN,
    ),
}  # fmt: skip


class Additions:
    """What one module gets. Indexes are known from the start; the functions are written at the end."""

    def __init__(
        self, module: Module, options: FormOptions, declared: frozenset[int], *, abi: bool, probing: bool
    ) -> None:
        """declared: functions that `ref.func` may name. abi: the module has the exports of Agent ABI 1.

        probing: the module's code can change tables.
        """
        self.features = frozenset(options.features)
        self.declared = declared
        self.types: list[FunctionType] = []
        self.layout = StateLayout(module, declared, probing, len(module.globals) + len(_GLOBALS))
        self._module = module
        self._options = options
        self._abi = abi
        self._globals = {key: len(module.globals) + at for at, key in enumerate(_GLOBALS)}
        self._type_of: dict[FunctionType, int] = {}
        for at, found in enumerate(module.types):
            self._type_of.setdefault(found, at)
        self._wanted: dict[str, int] = {}
        self._symbols = _Symbols(
            self,
            {
                **self._globals,
                "FUEL": int(Fault.FUEL),
                "DEPTH": int(Fault.DEPTH),
                "MISALIGNED": int(Fault.MISALIGNED_ATOMIC),
                "HOST_MEMORY": reserved.HOST_MEMORY,
                "BYTE_SHIFT": costs.BYTE_SHIFT,
                "PAGE_UNITS": costs.PAGE_UNITS,
                "ENTRY_UNITS": costs.ENTRY_UNITS,
                "STACK": options.stack_bytes,
                "MOST_PAGES": self.most_pages,
            },
        )
        self._get_fuel = assemble("global.get fuel", self._symbols)

    # ---- limits ----

    @property
    def most_pages(self) -> int:
        """The memory's maximum: its own or the limit, whichever is less."""
        own = self._module.memories[0].maximum if self._module.memories else 0
        return self._options.memory_pages if own is None else min(own, self._options.memory_pages)

    @property
    def memory_grows(self) -> bool:
        """Whether the code that was rewritten so far asks for more memory."""
        return "grow" in self._wanted

    def most_entries(self, table: int) -> int:
        """A table's maximum: its own or the limit, whichever is less."""
        own = self._module.tables[table].maximum
        return limits.TABLE_ENTRIES if own is None else min(own, limits.TABLE_ENTRIES)

    # ---- what functions are given ----

    def type_index(self, found: FunctionType) -> int:
        """The index of a function type, added where the module has none like it."""
        index = self._type_of.get(found)
        if index is None:
            index = self._type_of[found] = len(self._module.types) + len(self.types)
            self.types.append(found)
        return index

    def block_type(self, results: bytes) -> bytes:
        """The type of a block without parameters."""
        if len(results) > 1:
            return signed(self.type_index(FunctionType(b"", results)))
        return results or b"\x40"

    def helper(self, key: str) -> int:
        """The function index of a helper."""
        if key not in self._wanted:
            self._wanted[key] = len(self._module.functions) + len(self._wanted)
        return self._wanted[key]

    def call(self, key: str) -> bytes:
        """Code that calls a helper."""
        return b"\x10" + unsigned(self.helper(key))

    def note_dropped(self, kind: str, segment: int) -> bytes:
        """Code that keeps in mind that a segment is dropped."""
        return b"\x41\x01\x24" + unsigned(self.layout.dropped_global(kind, segment))

    def charge(self, units: int, local: int, *, loads: bool, check: bool, depth: int) -> bytes:
        """Code that charges a segment before it runs; with `check` it goes to the label at `depth` out of fuel.

        local: holds the fuel left; with `loads` only the global does yet.
        """
        index = unsigned(local)
        first = self._get_fuel if loads else b"\x20" + index
        less = b"\x42" + signed(units) + b"\x7d" if units else b""
        if not check:
            return first + less + b"\x21" + index
        # local.tee, i64.const 0, i64.lt_s, br_if
        return first + less + b"\x22" + index + b"\x42\x00\x53\x0d" + unsigned(depth)

    def check_entry(self) -> bytes:
        """Code at the beginning of a function whose first segment costs nothing."""
        return assemble("global.get fuel i64.const 0 i64.lt_s br_if 1", self._symbols)

    def store_fuel(self, local: int) -> bytes:
        """Code that puts the fuel left from the local into the global."""
        return b"\x20" + unsigned(local) + b"\x24" + unsigned(self._globals["fuel"])

    def load_fuel(self, local: int) -> bytes:
        """Code that puts the fuel left from the global into the local."""
        return b"\x23" + unsigned(self._globals["fuel"]) + b"\x21" + unsigned(local)

    def frame(self, results: bytes, epilogue: bytes) -> tuple[bytes, bytes]:
        """What stands before and behind a function's code: two blocks around it.

        The end of the inner one is every way out, of the outer one no fuel left.
        """
        head = b"\x02\x40\x02" + self.block_type(results)
        return head, epilogue + b"\x0f\x0b" + self.call("out_of_fuel") + b"\x00\x0b"

    def enter(self, weight: int, local: int) -> bytes:
        """Code that takes a frame's weight, or traps where the depth limit is reached. local: keeps what was left."""
        text = f"""
            global.get depth local.tee {local} i32.const {weight} i32.lt_u
            if void call too_deep unreachable end
            local.get {local} i32.const {weight} i32.sub global.set depth
        """
        return assemble(text, self._symbols)

    def enter_leaf(self, weight: int) -> bytes:
        """The same for a heavy function that calls nothing: it only checks, as nobody reads what is left."""
        text = f"global.get depth i32.const {weight} i32.lt_u if void call too_deep unreachable end"
        return assemble(text, self._symbols)

    def leave(self, local: int) -> bytes:
        """Code that gives a frame's weight back."""
        return assemble(f"local.get {local} global.set depth", self._symbols)

    def probe(self, index: int) -> bytes:
        """Code before all else in a function that a table may hold, where tables can change: see `state`."""
        return self.layout.probe(index) if index in self.declared else b""

    # ---- what is added in the end ----

    def finish(self) -> None:
        """Asks for the functions that are exported."""
        always = ["budget", "left", "start"]
        if self._module.memories:
            always.append("grow_freely")
        if self._abi:
            always.append("turn")
        for key in (*always, *self.layout.helpers()):
            self.helper(key)

    def globals(self) -> list[bytes]:
        """The globals, each with its type and first value."""
        words = [b"\x7e\x01\x42\x00\x0b"] + [b"\x7f\x01\x41\x00\x0b"] * (len(self._globals) - 1)
        return words + [b"\x7f\x01\x41\x00\x0b"] * self.layout.globals

    def written(self) -> Iterator[tuple[int, bytes, str | None]]:
        """The functions: type index, body and export name. Writing one may ask for another."""
        at = 0
        while at < len(self._wanted):
            key = list(self._wanted)[at]
            helper = self._helper(key)
            runs = [(1, code) for code in helper.locals]
            code = helper.code if isinstance(helper.code, bytes) else assemble(helper.code, self._names(key))
            body = function_body(runs, code + b"\x0b")
            yield self.type_index(FunctionType(helper.params, helper.results)), body, helper.export
            at += 1

    def exports(self) -> list[bytes]:
        """Exports of globals."""
        named = ((reserved.FAULT, "fault"), (reserved.REFUSED, "refused"))
        return [name(export) + b"\x03" + unsigned(self._globals[key]) for export, key in named]

    def _helper(self, key: str) -> Helper:
        if key == "start":
            return self._start()
        if key in ("budget", "turn"):
            no_probe = f"i32.const 0 global.set {self.layout.probe_global}" if self.layout.probing else ""
            return _HELPERS[key]._replace(code=str(_HELPERS[key].code).replace("NO_PROBE", no_probe))
        if key.startswith("table_grow"):
            return _HELPERS["table_grow"]
        if key in _HELPERS:
            return _HELPERS[key]
        found = self.layout.helpers().get(key)
        return found() if found else atomic_helper(key)

    def _start(self) -> Helper:
        """A budget, then whatever the module wants to be run first."""
        parts = ["local.get 0 call budget"]
        if self._module.start is not None:
            parts.append(f"call {self._module.start}")
        if self._abi:
            if EXPORT_INITIALIZE in self._module.exports:
                parts.append(f"call {self._module.exports[EXPORT_INITIALIZE].index}")
            parts.append(f"call {self._module.exports[EXPORT_ABI].index}")
        else:
            parts.append("i32.const 0")
        parts.append("call check global.get fuel")
        return Helper(b"\x7e", b"\x7f\x7e", b"", " ".join(parts), reserved.START)

    def _names(self, key: str) -> Mapping[str, int | bytes]:
        symbols = _Symbols(self, self._symbols)
        if key == "turn":
            symbols["wavelock_turn"] = self._module.exports[EXPORT_TURN].index
        if key.startswith("table_grow"):
            table = int(key.split()[1])
            symbols.update({"TABLE": table, "MOST_ENTRIES": self.most_entries(table)})
        return symbols


class _Symbols(dict[str, "int | bytes"]):
    """The names that a helper's text may use; another helper's name stands for its function's index."""

    def __init__(self, additions: Additions, known: Mapping[str, int | bytes]) -> None:
        super().__init__(known)
        self._additions = additions

    def __contains__(self, key: object) -> bool:
        return super().__contains__(key) or key in _HELPERS

    def __missing__(self, key: str) -> int:
        return self._additions.helper(key)
