"""Hidden state: what a capture must hold besides the memory, and the functions that read and write it from outside.

- Words: each mutable global as bits (a v128 is two words), then one word for each segment that the code can drop.
- Tables, where the code can change them. A table's entry cannot be compared with anything in WebAssembly, so each
  function that may be in one answers its own index while the global `probe` says that this is a question. Which of the
  types an entry has is found by asking for each: a wrong one is a trap.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from wavelock.core.form import reserved
from wavelock.core.form.emit import assemble, unsigned, vector
from wavelock.core.form.helper import Helper
from wavelock.core.form.module import Module
from wavelock.core.form.types import FUNCREF, V128, FunctionType

_GET: Final = {
    0x7F: "global.get GLOBAL i64.extend_i32_u",
    0x7E: "global.get GLOBAL",
    0x7D: "global.get GLOBAL i32.reinterpret_f32 i64.extend_i32_u",
    0x7C: "global.get GLOBAL i64.reinterpret_f64",
}
_SET: Final = {
    0x7F: "local.get 1 i32.wrap_i64 global.set GLOBAL",
    0x7E: "local.get 1 global.set GLOBAL",
    0x7D: "local.get 1 i32.wrap_i64 f32.reinterpret_i32 global.set GLOBAL",
    0x7C: "local.get 1 f64.reinterpret_i64 global.set GLOBAL",
}
_ZERO: Final = {
    0x7F: "i32.const 0",
    0x7E: "i64.const 0",
    0x7D: "i32.const 0 f32.reinterpret_i32",
    0x7C: "i64.const 0 f64.reinterpret_i64",
    V128: "i32.const 0 i32x4.splat",
    FUNCREF: "ref.null",
}


class StateLayout:
    """Where a module's hidden state is. Segments that the code can drop get their words as the pass meets them."""

    def __init__(self, module: Module, declared: frozenset[int], probing: bool, first: int) -> None:
        """declared: functions that a table may hold. first: the index of the first global for this state.

        probing: the module's code can change tables.
        """
        self._module = module
        self._declared = sorted(declared)
        self._first = first
        self.probing = probing
        self.tables_change = False
        """Set by the walk where it meets code that changes a table."""
        self._dropped: dict[tuple[str, int], int] = {}
        self._types: list[FunctionType] = list(
            dict.fromkeys(module.function_type(index) for index in self._declared) if probing else ()
        )
        self._global_words = [
            (index, found.value_type, half)
            for index, found in enumerate(module.globals)
            if found.mutable
            for half in range(2 if found.value_type == V128 else 1)
        ]

    @property
    def words(self) -> int:
        """How many words there are."""
        return len(self._global_words) + len(self._dropped)

    @property
    def dropped(self) -> int:
        """How many segments the code can drop."""
        return len(self._dropped)

    @property
    def tables(self) -> int:
        """How many tables a capture reads: none where the code changes none."""
        return len(self._module.tables) if self.probing else 0

    @property
    def table_types(self) -> int:
        """How many types a table's entry can have."""
        return len(self._types)

    @property
    def globals(self) -> int:
        """How many i32 globals are added for it."""
        return len(self._dropped) + self.probing

    @property
    def probe_global(self) -> int:
        """The global that turns a call of a function into the question which one it is."""
        return self._first

    def dropped_global(self, kind: str, segment: int) -> int:
        """The global that is 1 once a `data` or `element` segment was dropped."""
        at = self._dropped.setdefault((kind, segment), len(self._dropped))
        return self._first + self.probing + at

    def helpers(self) -> Mapping[str, Callable[[], Helper]]:
        """The functions to add, by key."""
        found: dict[str, Callable[[], Helper]] = {"get": self._get, "set": self._set}
        if self.probing:
            found.update(table_size=self._table_size, table_get=self._table_get, table_set=self._table_set)
        return found

    def probe(self, index: int) -> bytes:
        """Code at the beginning of a function that a table may hold: its answer to the question which one it is."""
        if not self.probing:
            return b""
        zeros = " ".join(_ZERO[code] for code in self._module.function_type(index).results)
        text = f"global.get PROBE if void i32.const {index + 1} global.set PROBE {zeros} return end"
        return assemble(text, {"PROBE": self.probe_global})

    # ---- words ----

    def _get(self) -> Helper:
        cases = [self._read(*word) for word in self._global_words]
        cases += [f"global.get {self.dropped_global(*key)} i64.extend_i32_u" for key in self._dropped]
        return Helper(b"\x7f", b"\x7e", b"", _switch([f"{case} return" for case in cases]), reserved.GET)

    def _read(self, index: int, value_type: int, half: int) -> str:
        text = _GET.get(value_type, f"global.get GLOBAL i64x2.extract_lane {half}")
        return text.replace("GLOBAL", str(index))

    def _set(self) -> Helper:
        cases = [self._write(*word) for word in self._global_words]
        for kind, segment in self._dropped:
            drop = "data.drop" if kind == "data" else "elem.drop"
            flag = self.dropped_global(kind, segment)
            cases.append(f"local.get 1 i64.eqz if void return end i32.const 1 global.set {flag} {drop} {segment}")
        return Helper(b"\x7f\x7e", b"", b"", _switch([f"{case} return" for case in cases]), reserved.SET)

    def _write(self, index: int, value_type: int, half: int) -> str:
        vector_half = f"global.get GLOBAL local.get 1 i64x2.replace_lane {half} global.set GLOBAL"
        return _SET.get(value_type, vector_half).replace("GLOBAL", str(index))

    # ---- tables ----

    def _each_table(self, text: Callable[[int], str]) -> str:
        """Code for the table that local 0 names."""
        cases = (
            f"local.get 0 i32.const {table} i32.eq if void {text(table)} return end"
            for table in range(len(self._module.tables))
        )
        return f"{' '.join(cases)} unreachable"

    def _table_size(self) -> Helper:
        return Helper(b"\x7f", b"\x7f", b"", self._each_table(lambda t: f"table.size {t}"), reserved.TABLE_SIZE)

    def _table_get(self) -> Helper:
        symbols = {f"TYPE{at}": self._module.types.index(found) for at, found in enumerate(self._types)}
        code = assemble(self._each_table(self._ask), {**symbols, "PROBE": self.probe_global})
        return Helper(b"\x7f\x7f\x7f", b"\x7f", b"", code, reserved.TABLE_GET)

    def _ask(self, table: int) -> str:
        asked = "".join(
            f"local.get 2 i32.const {at} i32.eq if void "
            f"{' '.join(_ZERO[code] for code in found.params)} local.get 1 call_indirect TYPE{at} {table} "
            f"{'drop ' * len(found.results)} end "
            for at, found in enumerate(self._types)
        )
        return f"""
            local.get 1 table.get {table} ref.is_null if void i32.const -1 return end
            i32.const -1 global.set PROBE
            {asked}
            global.get PROBE i32.const 1 i32.sub
            i32.const 0 global.set PROBE
        """

    def _table_set(self) -> Helper:
        chosen = " ".join(
            f"local.get 2 i32.const {f} i32.eq if void ref.func {f} local.set 3 end" for f in self._declared
        )
        code = f"{chosen} " + self._each_table(
            lambda t: (
                f"""
            local.get 1 table.size {t} i32.ge_u
            if void ref.null local.get 1 i32.const 1 i32.add table.size {t} i32.sub table.grow {t} drop end
            local.get 1 local.get 3 table.set {t}
            """
            )
        )
        return Helper(b"\x7f\x7f\x7f", b"", bytes((FUNCREF,)), code, reserved.TABLE_SET)


def _switch(cases: list[str]) -> bytes:
    """Code that goes to the case that local 0 numbers; each case returns. Traps for a number without a case."""
    count = len(cases)
    labels = vector(count, *(unsigned(at) for at in range(count + 1)))
    head = assemble("block void " * (count + 1) + "local.get 0 br_table LABELS end", {"LABELS": labels})
    return head + b"".join(assemble(f"{case} end") for case in cases) + assemble("unreachable")
