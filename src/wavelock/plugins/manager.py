"""The registry: discovery by entry point, the hook manager, and a typed façade over it.

Rules:
- Built-ins and third parties come through the same entry-point group; nothing is registered by hand but observers.
- What is found is sorted by name before use: the order of package metadata reaches nothing.
- Two plugins of one name, or two members of one name in a family, are an error that names both distributions.
- A plugin that fails, on import or in a hook, is listed as unavailable with the reason; it never breaks the others.
- A registry has its own pluggy manager; two runtimes share none.
"""

from __future__ import annotations

import copy
import inspect
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import pluggy

from wavelock.core.errors import PluginError, Problem
from wavelock.core.reading import nearest
from wavelock.plugins import hookspecs
from wavelock.plugins.discovery import remembered_entries
from wavelock.plugins.markers import PROJECT
from wavelock.plugins.members import Member, Unavailable

if TYPE_CHECKING:
    from wavelock.core.mailboxes import Mailboxes
    from wavelock.core.ports import InferencePort
    from wavelock.core.profile import Profile
    from wavelock.models.interface import ModelBackend
    from wavelock.schedulers.interface import Scheduler
    from wavelock.transports.interface import Transport
    from wavelock.wasm_engines.interface import Engine
    from wavelock.workers.interface import Workers

FAMILIES: Final = ("engine", "scheduler", "transport", "workers", "model_backend")
"""Family names, as profiles and hooks (`wavelock_<family>`) spell them, in the order in which they are listed."""
OBSERVER: Final = "observer"
"""What a plugin is listed as that offers no member."""
BROKEN: Final = "plugin"
"""What a plugin is listed as that cannot be loaded: its families are not known."""
_LISTING: Final = (*FAMILIES, OBSERVER, BROKEN)
MadeT = TypeVar("MadeT")
_log = logging.getLogger("wavelock.plugins")


@dataclass(frozen=True)
class Listed:
    """One member as `wavelock plugins` lists it. broken: why its plugin does not load."""

    family: str
    name: str
    summary: str
    distribution: str
    member: Member[Any] | None
    broken: Unavailable | None = None

    @cached_property
    def unavailable(self) -> Unavailable | None:
        """Why it cannot be used; None where it can. Asked of the plugin when somebody asks: it may take a while."""
        if self.member is None:
            return self.broken
        try:
            return self.member.unavailable()
        except (Exception, SystemExit) as error:
            return _broken(error, self.distribution)


def _broken(error: BaseException, distribution: str) -> Unavailable:
    return Unavailable(f"{type(error).__name__}: {error}", f"mend or uninstall {distribution}")


class Loadable(Protocol):
    """An entry point: `importlib.metadata.EntryPoint`, or `discovery.Entry`."""

    @property
    def value(self) -> str:
        """What it names: `module` or `module:attribute`."""

    def load(self) -> Any:
        """Import what it names."""


@dataclass(frozen=True)
class Found:
    """A plugin before it is imported: an entry point, or what stands for one in a test."""

    name: str
    distribution: str
    entry: Loadable


def find_entry_points() -> list[Found]:
    """All plugins of the group `wavelock`, sorted by name. Raises PluginError for two of one name."""
    found = _without_repeats([Found(entry.name, entry.distribution, entry) for entry in remembered_entries()])
    for one, other in pairwise(found):
        if one.name == other.name:
            raise PluginError(
                f'two plugins are named "{one.name}": one from {one.distribution}, one from {other.distribution}; '
                "uninstall one of them"
            )
    return found


def _without_repeats(found: list[Found]) -> list[Found]:
    """Sorted, and once each: an editable install beside a build folder lists the same entry point twice."""
    unique = {(item.name, item.distribution, item.entry.value): item for item in found}
    return [unique[key] for key in sorted(unique)]


class _Hooks(pluggy.PluginManager):
    """pluggy's manager. In a module it looks at functions alone: to look into all else takes longer than its import."""

    def parse_hookimpl_opts(self, plugin: object, name: str) -> pluggy.HookimplOpts | None:
        if isinstance(plugin, ModuleType) and not inspect.isroutine(vars(plugin).get(name)):
            return None
        return super().parse_hookimpl_opts(plugin, name)


def _hooks() -> _Hooks:
    hooks = _Hooks(PROJECT)
    hooks.add_hookspecs(hookspecs)
    return hooks


class Registry:
    """The members of all families, and the observers, of one runtime."""

    def __init__(self, plugins: Iterable[Found] | None = None) -> None:
        """plugins: what to load; None discovers by entry point. Raises PluginError for names given twice."""
        self._manager = _hooks()
        self._listed: list[Listed] = []
        for found in find_entry_points() if plugins is None else plugins:
            self._load(found)
        self._listed.sort(key=lambda item: (_LISTING.index(item.family), item.name))
        self._refuse_twins()

    def _load(self, found: Found) -> None:
        try:
            plugin = found.entry.load()
            self._manager.register(plugin, found.name)
            self._manager.check_pending()
            listed = self._members(plugin, found)
        except (Exception, SystemExit) as error:
            if self._manager.has_plugin(found.name):
                self._manager.unregister(name=found.name)
            broken = _broken(error, found.distribution)
            listed = [Listed(BROKEN, found.name, "does not load", found.distribution, None, broken)]
        self._listed += listed

    def _members(self, plugin: object, found: Found) -> list[Listed]:
        """What a plugin offers. Raises whatever its hooks do, and TypeError for an answer that is no Member."""
        listed = []
        for family in FAMILIES:
            for hook in getattr(self._manager.hook, f"wavelock_{family}").get_hookimpls():
                member = hook.function() if hook.plugin is plugin else None
                if not isinstance(member, (Member, type(None))):
                    raise TypeError(
                        f"wavelock_{family} answered {member!r}; expected a wavelock.plugins.members.Member"
                    )
                if member is not None:
                    listed.append(Listed(family, member.name, member.summary, found.distribution, member))
        if not listed:
            summary = (inspect.getdoc(plugin) or "observes runs").partition("\n")[0]
            listed.append(Listed(OBSERVER, found.name, summary, found.distribution, None))
        return listed

    def copy(self) -> Registry:
        """The same plugins and observers under a manager of its own, for one runtime."""
        twin = copy.copy(self)
        twin._manager = _hooks()
        for name, plugin in self._manager.list_name_plugin():
            if plugin is not None:
                twin._manager.register(plugin, name)
        return twin

    def _refuse_twins(self) -> None:
        for one, other in pairwise(self._listed):
            if (one.family, one.name) == (other.family, other.name):
                raise PluginError(
                    f'two members of the family {one.family} are named "{one.name}": one from {one.distribution}, '
                    f"one from {other.distribution}; uninstall one of them"
                )

    def listed(self) -> Sequence[Listed]:
        """All members, sorted by family and name, those that cannot be used with the reason."""
        return tuple(self._listed)

    def names(self, family: str) -> list[str]:
        """The names of a family's members."""
        return [item.name for item in self._listed if item.family == family]

    def look_up(self, family: str, name: str) -> Member[Any] | Problem:
        """A member that can be used, or the problem with the profile that asked for it."""
        item = next((item for item in self._listed if (item.family, item.name) == (family, name)), None)
        where = f"{family}.use"
        if item is None:
            return Problem(where, f'no {family} plugin is named "{name}"{nearest(name, self.names(family))}')
        if item.unavailable is not None or item.member is None:
            return Problem(where, f'the {family} plugin "{name}" is not available: {item.unavailable}')
        return item.member

    def settings(self, family: str, name: str) -> Any:
        """The settings struct of a member, or a Problem. What `build_profile` asks."""
        member = self.look_up(family, name)
        return member if isinstance(member, Problem) else member.settings

    def _create(self, family: str, name: str, settings: object) -> Any:
        member = self.look_up(family, name)
        if isinstance(member, Problem):
            raise PluginError(member.what)
        return member.create(settings)

    def engine(self, name: str, settings: object) -> Engine:
        """Make an engine. Raises PluginError for one that is unknown or unavailable; so do the methods below."""
        made: Engine = self._create("engine", name, settings)
        return made

    def scheduler(self, name: str, settings: object) -> Scheduler:
        """Make a scheduler."""
        made: Scheduler = self._create("scheduler", name, settings)
        return made

    def transport(self, name: str, settings: object) -> Transport:
        """Make a transport."""
        made: Transport = self._create("transport", name, settings)
        return made

    def workers(self, name: str, settings: object) -> Workers:
        """Make a kind of worker."""
        made: Workers = self._create("workers", name, settings)
        return made

    def model_backend(self, name: str) -> ModelBackend:
        """Make an inference backend, with its default settings."""
        member = self.look_up("model_backend", name)
        if isinstance(member, Problem):
            raise PluginError(member.what)
        made: ModelBackend = member.create(member.settings())
        return made

    def open_models(self, profile: Profile) -> InferencePort:
        """Load the models of a profile. Raises ProfileError with every one that cannot be loaded as it asks."""
        from wavelock.models.stage import ModelRequest, open_stage

        requests = [
            ModelRequest(
                name=model.name,
                backend=model.backend,
                repository=profile.path(model.repository),
                model=model.model or model.name,
                version=model.version,
                providers=model.providers,
                strict=model.strict,
                finite=model.finite,
                max_batch_rows=model.max_batch_rows,
            )
            for model in profile.models
        ]
        backends = {name: self.model_backend(name) for name in sorted({model.backend for model in profile.models})}
        return open_stage(requests, backends)

    @staticmethod
    def assemble_text(text: str, name: str) -> bytes:
        """WebAssembly text to a module. Raises ModuleError."""
        from wavelock.wasm_engines.wasmtime_engine import assemble_text

        return assemble_text(text, name)

    @staticmethod
    def mailboxes() -> Mailboxes:
        """Mailboxes for a run whose engine brings none of its own."""
        from wavelock.wasm_engines.hub.mailboxes import open_mailboxes

        return open_mailboxes()

    def observe(self, observer: object) -> None:
        """Register an observer object. Raises PluginError for a hook that does not exist, and for one told already."""
        if self._manager.is_registered(observer):
            raise PluginError(f"{observer!r} observes this run already")
        try:
            self._manager.register(observer)
            self._manager.check_pending()
        except pluggy.PluginValidationError as error:
            if self._manager.is_registered(observer):
                self._manager.unregister(observer)
            raise PluginError(f"{observer!r}: {error}") from None

    def tell(self, hook: str, **values: object) -> None:
        """Tell observers, plugins by name and then those given to the run.

        What one raises is logged and dropped: observers cannot disturb a run.
        """
        for implementation in getattr(self._manager.hook, hook).get_hookimpls():
            try:
                implementation.function(*(values[name] for name in implementation.argnames))
            except Exception:
                _log.exception("observer %s failed in %s", implementation.plugin_name, hook)
