"""A module made ready to run: what it begins with, and its functions, each decoded when it is first called."""

from __future__ import annotations

from collections.abc import Iterable

from wavelock.core.errors import ModuleError
from wavelock.core.form.module import Kind
from wavelock.core.form.sections import read_module
from wavelock.core.form.sniff import check_header
from wavelock.wasm_engines.reference.decoder import decode
from wavelock.wasm_engines.reference.initial import data_segments, element_segments, initial_globals
from wavelock.wasm_engines.reference.machine import Code


class Program:
    """A module that machines run. It never changes: any number of machines share one.

    metered: whether the code pays for itself as the deterministic form has it; the machine then needs a meter.
    features: what the code may use although the form refuses it by default.
    Raises ModuleError for what cannot be read. The module is not validated.
    """

    def __init__(self, data: bytes, *, metered: bool = False, features: Iterable[str] = ()) -> None:
        check_header(data)
        self.module = read_module(data)
        self.globals = initial_globals(self.module)
        self.data = data_segments(self.module)
        self.elements = element_segments(self.module)
        self._metered = metered
        self._features = frozenset(features)
        self._codes: dict[int, Code] = {}

    def code(self, function: int) -> Code:
        """A function's code."""
        found = self._codes.get(function)
        if found is None:
            found = self._codes[function] = decode(self.module, function, self._features, metered=self._metered)
        return found

    def exported(self, name: str, kind: Kind) -> int | None:
        """The index of what is exported under this name; None where nothing of that kind is."""
        export = self.module.exports.get(name)
        return export.index if export is not None and export.kind is kind else None

    def exported_function(self, name: str) -> int:
        """The index of an exported function. Raises ModuleError."""
        index = self.exported(name, Kind.FUNCTION)
        if index is None:
            raise ModuleError(f"found no exported function {name}")
        return index
