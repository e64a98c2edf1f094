"""The deterministic form of a module: the rewriting that makes it do the same on every engine.

A module is read (`sections`), each function is checked and rewritten (`function`), and a new module is written
(`rewrite`) with what the pass adds (`additions`). Engines see nothing but that. A module comes out only if it is valid:
every byte is read and every operand's type is checked.
"""

from __future__ import annotations

from typing import Final

from wavelock.core.form.options import FormOptions
from wavelock.core.form.rewritten import FORM_VERSION, Extern, MemorySize, ModuleInfo, Rewritten, StateSizes

__all__ = [
    "FORM_VERSION",
    "Extern",
    "FormOptions",
    "MemorySize",
    "ModuleInfo",
    "Rewritten",
    "StateSizes",
    "rewrite_module",
    "survey_module",
]

_DEFAULT: Final = FormOptions()


def rewrite_module(data: bytes, name: str, options: FormOptions = _DEFAULT, *, abi: bool = True) -> Rewritten:
    """The deterministic form of a module, with `abi` of one that has an agent's exports.

    name: what errors begin with, the file's path for one.
    Raises ModuleError: name, function, byte offset, found against expected, the way out.
    """
    from wavelock.core.form.transform import transform

    return transform(data, name, options, abi=abi)


def survey_module(data: bytes, name: str, options: FormOptions = _DEFAULT) -> list[str]:
    """Everything for which a module would be refused as an agent, as texts; empty for one that can be.

    One text a function, and one for what lies outside of them: what follows a mistake need not mean anything.
    """
    from wavelock.core.form.transform import survey

    return survey(data, name, options)
