"""The modules of a profile's groups: read or assembled, and brought into their deterministic form, cached on disk."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import msgspec
from blake3 import blake3

from wavelock.core.cache import ModuleCache
from wavelock.core.digest import hash_bytes
from wavelock.core.errors import ModuleError, Problem, ProfileError
from wavelock.core.form import FORM_VERSION, FormOptions, Rewritten, rewrite_module
from wavelock.core.form.limits import MODULE_BYTES, PAGE_BYTES
from wavelock.core.profile import AgentSection, Profile
from wavelock.core.units import format_bytes


@dataclass(frozen=True)
class Source:
    """A module as it came. digest: BLAKE3 of `data`, hex. name: where it came from, for errors."""

    name: str
    digest: str
    data: bytes


@dataclass(frozen=True)
class Module:
    """A group's module. form: as engines see it; form_digest: BLAKE3 of its bytes, hex."""

    source: Source
    form: Rewritten
    form_digest: str

    @property
    def digest(self) -> str:
        """The digest of the module as it came, which is part of the run's."""
        return self.source.digest


Made = dict[tuple[str, FormOptions], Module]
"""Modules by the digest of their source and the options of their form."""


class Assembler(Protocol):
    """What turns WebAssembly text into a module: `plugins.manager.Registry` does."""

    def assemble_text(self, text: str, name: str) -> bytes:
        """Raises ModuleError, beginning with `name`."""


def load_modules(profile: Profile, assembler: Assembler) -> list[Module]:
    """The module of each group. Raises ProfileError with every module that cannot be an agent."""
    problems: list[Problem] = []
    loaded: dict[str, Source] = {}
    made = Made()
    modules = []
    for index, group in enumerate(profile.agents):
        try:
            if group.module not in loaded:
                loaded[group.module] = load_source(profile.path(group.module), assembler)
            modules.append(make_module(loaded[group.module], form_options(profile, group), made))
        except ModuleError as error:
            problems.append(Problem(f"agents[{index}].module", str(error)))
    if problems:
        raise ProfileError(profile.source, problems)
    return modules


def load_source(path: Path, assembler: Assembler) -> Source:
    """Read one module, or assemble it where it is text. Raises ModuleError."""
    try:
        with path.open("rb") as file:
            data = file.read(MODULE_BYTES + 1)
    except OSError as error:
        raise ModuleError(f"{path}: cannot be read: {error.strerror}") from None
    if len(data) > MODULE_BYTES:
        raise ModuleError(f"{path}: larger than a module can be: {format_bytes(MODULE_BYTES)}")
    if _is_text(data):
        data = assembler.assemble_text(data.decode(), str(path))
    return Source(str(path), hash_bytes(data), data)


def _is_text(data: bytes) -> bool:
    """Whether this is WebAssembly text: UTF-8 that begins, after blanks, with a parenthesis or a comment."""
    if not data.lstrip().startswith((b"(", b";;")):
        return False
    with contextlib.suppress(UnicodeDecodeError):
        data.decode()
        return True
    return False


def form_options(profile: Profile, group: AgentSection) -> FormOptions:
    """What a group's limits and the engine's features make of the form of its module."""
    limits = profile.limits_of(group)
    return FormOptions(
        memory_pages=int(limits.memory) // PAGE_BYTES,
        stack_bytes=int(limits.stack),
        features=tuple(sorted(profile.engine.features)),
    )


def make_module(source: Source, options: FormOptions, made: Made | None = None) -> Module:
    """A module with its form, from the cache where it was made before. Raises ModuleError.

    made: those of this profile so far; groups that share a module and its limits share what is made of them.
    """
    made = {} if made is None else made
    key = source.digest, options
    if key not in made:
        form = _cached(source, options)
        made[key] = Module(source, form, hash_bytes(form.module))
    return made[key]


def _cached(source: Source, options: FormOptions) -> Rewritten:
    cache = ModuleCache("form")
    key = f"{_pass_digest()} {source.digest} {options}"
    stored = cache.load(key)
    if stored is not None:
        with contextlib.suppress(msgspec.MsgspecError):
            return msgspec.msgpack.decode(stored, type=Rewritten)
    form = rewrite_module(source.data, source.name, options)
    cache.store(key, msgspec.msgpack.encode(form))
    return form


@lru_cache(maxsize=1)
def _pass_digest() -> str:
    """What tells one state of the pass from another, so that a cache never outlives the code that filled it."""
    hasher = blake3(str(FORM_VERSION).encode())
    for file in sorted(Path(__file__).with_name("form").glob("*.py")):
        hasher.update(file.read_bytes())
    return hasher.hexdigest()


def digests(modules: Sequence[Module]) -> list[str]:
    """The digests of the modules as they came, in order."""
    return [module.digest for module in modules]
