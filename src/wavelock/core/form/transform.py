"""The pass from end to end: a module read, checked, and written anew."""

from __future__ import annotations

from wavelock.core.errors import ModuleError
from wavelock.core.form import limits
from wavelock.core.form.binary import FormError, at, shown
from wavelock.core.form.check import check_exports
from wavelock.core.form.features import MVP
from wavelock.core.form.module import Module
from wavelock.core.form.names import function_name
from wavelock.core.form.options import FormOptions
from wavelock.core.form.rewrite import Written, refusals, write_module
from wavelock.core.form.rewritten import Extern, ModuleInfo, Rewritten, StateSizes
from wavelock.core.form.sections import frame, read_sections
from wavelock.core.form.sniff import check_header


def transform(data: bytes, name: str, options: FormOptions, *, abi: bool) -> Rewritten:
    """See `rewrite_module`."""
    if len(data) > limits.MODULE_BYTES:
        raise ModuleError(f"{name}: found {len(data)} bytes, expected at most {limits.MODULE_BYTES} in a module")
    module: Module | None = None
    try:
        check_header(data)
        module = frame(data)
        read_sections(module)
        if abi:
            check_exports(module)
        written = write_module(module, options, abi=abi)
    except FormError as error:
        raise ModuleError(f"{name}: {_described(error, module)}") from None
    layout = written.layout
    sizes = StateSizes(layout.words, layout.tables, layout.table_types)
    return Rewritten(written.data, _info(module, written), written.segments, sizes, written.memory)


def survey(data: bytes, name: str, options: FormOptions) -> list[str]:
    """See `survey_module`."""
    module: Module | None = None
    found: list[FormError] = []
    try:
        check_header(data)
        module = frame(data)
        read_sections(module)
        found += refusals(module, options)
        check_exports(module)
    except FormError as error:
        found.append(error)
    return [f"{name}: {_described(error, module)}" for error in found]


def _described(error: FormError, module: Module | None) -> str:
    found = function_name(module, error.function) if module and error.function is not None else None
    if found is None:
        return str(error)
    return f"function {error.function} ({shown(found)}), {at(error.offset)}: {error.what}"


def _info(module: Module, written: Written) -> ModuleInfo:
    memory = module.memories[0] if module.memories else None
    return ModuleInfo(
        size_bytes=len(module.data),
        imports=(),
        exports=tuple(Extern(name, module.export_type(export)) for name, export in module.exports.items()),
        features=tuple(sorted(written.features - {MVP})),
        functions=len(module.functions),
        memory_minimum_pages=memory.minimum if memory else 0,
        memory_maximum_pages=memory.maximum if memory else None,
        has_start=module.start is not None,
    )
