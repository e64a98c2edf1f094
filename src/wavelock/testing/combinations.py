"""Which plugins are set beside which: every scheduler with every engine, transport and kind of worker."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from wavelock.core.errors import PluginError, Problem, UserError
from wavelock.core.profile_reader import DEFAULTS
from wavelock.plugins.manager import BROKEN, FAMILIES, Registry

COUNTS: Final = (1, 2, 3)
"""How many workers of a kind take part, where no count is given: a single one, an even share, an uneven one."""
QUICK_COUNTS: Final = (2,)
ALONE: Final = ("inline",)
"""Kinds of worker of which a run has one."""


@dataclass(frozen=True)
class Combination:
    """The plugins of a run. count: of workers. backend: for models; empty where a workload asks none."""

    scheduler: str
    engine: str
    transport: str
    workers: str
    count: int
    backend: str = ""

    def __str__(self) -> str:
        backend = f", {self.backend}" if self.backend else ""
        return f"{self.scheduler}, {self.engine}, {self.transport}, {self.workers}:{self.count}{backend}"


@dataclass(frozen=True)
class Missing:
    """A plugin that is installed and cannot take part. remedy: the command or step that would change it."""

    family: str
    name: str
    reason: str
    remedy: str


@dataclass(frozen=True)
class Selection:
    """What takes part: names by family, None for all that can be used. workers: kind and count, None for the usual."""

    schedulers: Sequence[str] | None = None
    engines: Sequence[str] | None = None
    transports: Sequence[str] | None = None
    workers: Sequence[tuple[str, int | None]] | None = None
    backends: Sequence[str] | None = None
    quick: bool = False


def missing(registry: Registry) -> list[Missing]:
    """The plugins that cannot take part, and why."""
    return [
        Missing(item.family, item.name, item.unavailable.reason, item.unavailable.remedy)
        for item in registry.listed()
        if item.unavailable is not None and item.family in (*FAMILIES, BROKEN)
    ]


def usable(registry: Registry, family: str, asked: Iterable[str] | None = None) -> list[str]:
    """The members of a family that take part, the default one first, then by name.

    Raises PluginError for one that was asked for by name and cannot be used.
    """
    if asked is not None:
        names = list(dict.fromkeys(asked))
        for name in names:
            member = registry.look_up(family, name)
            if isinstance(member, Problem):
                raise PluginError(member.what)
        return names
    names = [item.name for item in registry.listed() if item.family == family and item.unavailable is None]
    return sorted(names, key=lambda name: (name != DEFAULTS.get(family), name))


def combine(registry: Registry, selection: Selection) -> list[Combination]:
    """All combinations of what was selected, without backends.

    Raises PluginError for what cannot be used, UserError where a family has nothing that can.
    """
    families = {
        "scheduler": usable(registry, "scheduler", selection.schedulers),
        "engine": usable(registry, "engine", selection.engines),
        "transport": usable(registry, "transport", selection.transports),
    }
    workers = _workers(registry, selection)
    for family, found in {**families, "workers": workers}.items():
        if not found:
            raise UserError(f"no plugin of the family {family} can be used here; `wavelock plugins` says why")
    return [
        Combination(scheduler, engine, transport, kind, count)
        for scheduler in families["scheduler"]
        for engine in families["engine"]
        for transport in families["transport"]
        for kind, count in workers
    ]


def _workers(registry: Registry, selection: Selection) -> list[tuple[str, int]]:
    asked = selection.workers
    kinds = usable(registry, "workers", None if asked is None else [kind for kind, _ in asked])
    counts = QUICK_COUNTS if selection.quick else COUNTS
    found = [
        (kind, each)
        for kind, count in ([(kind, None) for kind in kinds] if asked is None else asked)
        for each in ((count,) if count is not None else (1,) if kind in ALONE else counts)
    ]
    return list(dict.fromkeys(found))


def reference_of(combination: Combination, registry: Registry) -> Combination:
    """What a combination is compared with: the same scheduler with the default members of all other families."""
    engine, transport, workers = (usable(registry, family)[0] for family in ("engine", "transport", "workers"))
    backend = usable(registry, "model_backend")[0] if combination.backend else ""
    return Combination(combination.scheduler, engine, transport, workers, 1, backend)
