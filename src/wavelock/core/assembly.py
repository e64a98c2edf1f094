"""From a profile and a registry to a run: the one place where families meet.

Everything that was opened is closed again when a later step fails.
"""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec
import numpy as np

from wavelock._version import VERSION
from wavelock.core.abi import FRAME_HEADER, TURN_HEADER, DirectoryKind, directory_row
from wavelock.core.beside import BesideThread
from wavelock.core.digest import header_digest
from wavelock.core.errors import PluginError
from wavelock.core.events import RunStarted
from wavelock.core.form import FORM_VERSION
from wavelock.core.form.limits import NATIVE_RATIO, NATIVE_RESERVE_BYTES, PAGE_BYTES
from wavelock.core.homes import Homes
from wavelock.core.inputs import LiveFeed, cut_records
from wavelock.core.kernel import Beside, Kernel
from wavelock.core.mailboxes import Mailboxes
from wavelock.core.modules import Module, digests, load_modules
from wavelock.core.population import Group
from wavelock.core.ports import FeedPort, InferenceAnswer, InferencePort, JournalPort, ModelReport
from wavelock.core.profile import Profile
from wavelock.core.profile_rules import config_bytes, stream_files
from wavelock.core.runtime import Parts
from wavelock.core.shard import GroupPlan, ShardService
from wavelock.core.shards import ShardSet
from wavelock.core.turns import SentTurns, SharedTurns, SharingMailboxes, TurnsPort
from wavelock.plugins.manager import Registry

if TYPE_CHECKING:
    from wavelock.wasm_engines.interface import Engine
    from wavelock.workers.interface import Workers


class NoInference:
    """The inference port of a run without models."""

    def submit(self, wave: int, model: int, payloads: Sequence[bytes]) -> None:
        """Never called: without models no request passes the commit."""
        raise RuntimeError("a request in a run without models")

    def collect(self, wave: int, model: int) -> list[InferenceAnswer]:
        """Never called."""
        raise RuntimeError("an answer in a run without models")

    def reports(self) -> list[ModelReport]:
        """None."""
        return []

    def close(self) -> None:
        """Nothing to close."""


def resolve_groups(profile: Profile, modules: Sequence[Module]) -> list[Group]:
    """The profile's groups with names resolved to ids."""
    names = {
        "models": [model.name for model in profile.models],
        "topics": [topic.name for topic in profile.topics],
        "spawn": [group.name for group in profile.agents],
    }

    def ids(granted: Sequence[str], kind: str) -> frozenset[int]:
        known = names[kind]
        return frozenset(range(len(known)) if "*" in granted else map(known.index, granted))

    def prefixes(granted: Sequence[str]) -> tuple[bytes, ...]:
        return tuple(b"" if prefix == "*" else prefix.encode() for prefix in granted)

    return [
        Group(
            index=index,
            name=section.name,
            module=modules[index].digest,
            config=config_bytes(section),
            restart_fresh=section.restart == "fresh",
            limits=profile.limits_of(section),
            models=ids(section.grants.models, "models"),
            topics=ids(section.grants.topics, "topics"),
            spawns=ids(section.grants.spawn, "spawn"),
            writes=prefixes(section.grants.state),
            reads=prefixes(section.grants.state_read),
        )
        for index, section in enumerate(profile.agents)
    ]


def directory(profile: Profile) -> bytes:
    """The payload of the DIRECTORY frame: groups (first id and count), topics, models, modules (groups to spawn)."""
    rows = []
    first = 0
    for group in profile.agents:
        rows.append(directory_row(DirectoryKind.GROUP, first, group.count, group.name))
        first += group.count
    rows += [directory_row(DirectoryKind.TOPIC, at, 1, topic.name) for at, topic in enumerate(profile.topics)]
    rows += [directory_row(DirectoryKind.MODEL, at, 1, model.name) for at, model in enumerate(profile.models)]
    spawnable = {name for group in profile.agents for name in group.grants.spawn}
    for number, group in enumerate(profile.agents):
        if group.name in spawnable or "*" in spawnable:
            rows.append(directory_row(DirectoryKind.MODULE, number, 1, group.name))
    return b"".join(rows)


def first_agents(profile: Profile) -> dict[str, tuple[int, int]]:
    """First id and count of each group."""
    first, found = 0, {}
    for group in profile.agents:
        found[group.name] = (first, group.count)
        first += group.count
    return found


def most_agents(profile: Profile) -> int:
    """How many agents can be alive at one time: those of the start, where none may spawn."""
    start = sum(group.count for group in profile.agents)
    return profile.limits.agents if any(group.grants.spawn for group in profile.agents) else start


def build_kernel(
    profile: Profile,
    groups: Sequence[Group],
    registry: Registry,
    header: bytes,
    mailboxes: Mailboxes,
    beside: Beside = lambda task: task,
) -> Kernel:
    """The kernel of a profile, before its first wave."""
    from wavelock.schedulers.interface import GroupInfo

    scheduler = registry.scheduler(profile.scheduler.use, profile.scheduler.settings)
    scheduler.open([GroupInfo(group.name, group.priority, group.after) for group in profile.agents])
    by_name = {group.name: group for group in groups}
    return Kernel(
        groups=groups,
        counts=[group.count for group in profile.agents],
        mailboxes=mailboxes,
        topics=[[by_name[name] for name in topic.subscribers] for topic in profile.topics],
        latencies=[model.latency for model in profile.models],
        limits=profile.limits,
        directory=directory(profile),
        scheduler=scheduler,
        scheduler_name=profile.scheduler.use,
        seed=profile.run.seed,
        wave_ns=profile.run.wave_ns,
        header=header,
        beside=beside,
        hash_threads=max(2, profile.workers.count),  # one worker has no use for a second processor
    )


def group_plans(groups: Sequence[Group], modules: Sequence[Module]) -> list[GroupPlan]:
    """What workers are told of the groups."""
    return [
        GroupPlan(
            name=group.name,
            module=module.form.module,
            digest=module.form_digest,
            fuel_per_turn=group.limits.fuel_per_turn,
            memory_bytes=PAGE_BYTES * module.form.memory.most,
            inbox_bytes=int(group.limits.inbox),
            outbox_bytes=int(group.limits.outbox),
            words=module.form.state.words,
            tables=module.form.state.tables,
            table_types=module.form.state.table_types,
        )
        for group, module in zip(groups, modules, strict=True)
    ]


@dataclass(frozen=True)
class Sources:
    """Where a run takes what lies outside it: made by `live_sources`, or by a replay."""

    modules: Sequence[Module]
    inference: InferencePort
    make_feed: Callable[[Kernel], FeedPort]
    make_journal: Callable[[bytes, Sequence[ModelReport]], tuple[JournalPort, Path] | None]


def assemble(profile: Profile, registry: Registry, sources: Sources) -> Parts:
    """Put a run together. Raises UserError for what cannot be used, EnvironmentFailure for what the host lacks."""
    with contextlib.ExitStack() as undo:
        undo.callback(sources.inference.close)
        engine = undo.enter_context(contextlib.closing(registry.engine(profile.engine.use, profile.engine.settings)))
        groups = resolve_groups(profile, sources.modules)
        stack_bytes = NATIVE_RATIO * int(profile.limits.stack) + NATIVE_RESERVE_BYTES
        _check_features(profile, engine)
        engine.configure(
            agents=most_agents(profile),
            stack_bytes=stack_bytes,
            memories=[module.form.memory for module in sources.modules],
            features=profile.engine.features,
        )
        header = header_digest(profile, digests(sources.modules))
        transport = undo.enter_context(
            contextlib.closing(registry.transport(profile.transport.use, profile.transport.settings))
        )
        workers = undo.enter_context(
            contextlib.closing(registry.workers(profile.workers.use, profile.workers.settings))
        )
        homes = Homes(profile.workers.count, sum(group.count for group in profile.agents))
        mailboxes = undo.enter_context(contextlib.closing(_mailboxes(engine, workers, registry, homes)))
        beside = undo.enter_context(contextlib.closing(BesideThread()))
        kernel = build_kernel(profile, groups, registry, header, mailboxes, beside)
        links = workers.start(profile.workers.count, transport, lambda: ShardService(engine.open_shard), stack_bytes)
        shards = ShardSet(links, group_plans(groups, sources.modules), homes)
        feed = undo.enter_context(contextlib.closing(sources.make_feed(kernel)))
        reports = sources.inference.reports()
        journalled = sources.make_journal(header, reports)
        journal, path = journalled if journalled else (None, None)
        undo.pop_all()
    return Parts(
        started=_started(profile, engine, reports, path),
        kernel=kernel,
        shards=shards,
        turns=_turns(
            mailboxes,
            shards,
            homes,
            attended=getattr(workers, "concurrent", False),
            hashing=journal is not None and profile.record.turns,
        ),
        feed=feed,
        inference=sources.inference,
        journal=journal,
        closables=[feed, sources.inference, beside, workers, transport, engine, mailboxes],
        tell=registry.tell,
        outputs_kept=profile.limits.outputs,
        first_agents=first_agents(profile),
    )


def _mailboxes(engine: Engine, workers: Workers, registry: Registry, homes: Homes) -> Mailboxes:
    """The engine's own where its shards can reach them."""
    own: Callable[[Homes], Mailboxes] | None = getattr(engine, "mailboxes", None)
    return own(homes) if own is not None and getattr(workers, "in_process", False) else registry.mailboxes()


def _turns(mailboxes: Mailboxes, shards: ShardSet, homes: Homes, *, attended: bool, hashing: bool) -> TurnsPort:
    if not getattr(mailboxes, "shared", False):
        return SentTurns(mailboxes, shards)
    sharing = cast("SharingMailboxes", mailboxes)
    sharing.hashing = hashing
    return SharedTurns(sharing, shards, homes, attended=attended)


def _check_features(profile: Profile, engine: Engine) -> None:
    missing = sorted(set(profile.engine.features) - set(engine.features))
    if missing:
        raise PluginError(f'engine.features: "{profile.engine.use}" has no {", ".join(missing)}; use another engine')


def _started(profile: Profile, engine: Engine, reports: Sequence[ModelReport], path: Path | None) -> RunStarted:
    return RunStarted(
        name=profile.run.name,
        seed=profile.run.seed,
        waves=profile.run.waves,
        agents=sum(group.count for group in profile.agents),
        engine=profile.engine.use,
        memory_layout=getattr(engine, "memory_layout", None),
        scheduler=profile.scheduler.use,
        transport=profile.transport.use,
        workers=profile.workers.use,
        worker_count=profile.workers.count,
        run_file=str(path) if path else None,
        models=tuple(reports),
    )


# ---- a live run ----


def live_sources(profile: Profile, registry: Registry, record: bool) -> Sources:
    """The sources of a live run: modules and inputs from files, models from backends, a new run file.

    Raises ProfileError, ModelError, PluginError.
    """
    modules = load_modules(profile, registry)
    inference: InferencePort = registry.open_models(profile) if profile.models else NoInference()
    return Sources(
        modules=modules,
        inference=inference,
        make_feed=lambda kernel: _live_feed(profile, kernel),
        make_journal=lambda header, reports: _journal(profile, modules, header, reports) if record else None,
    )


def _live_feed(profile: Profile, kernel: Kernel) -> LiveFeed:
    feed = LiveFeed(kernel)
    ids = first_agents(profile)
    for section in profile.inputs:
        receivers = [first + at for name in section.to for first, count in [ids[name]] for at in range(count)]
        room = min(
            min(profile.limits_of(group).inbox, profile.limits_of(group).mailbox)
            for group in profile.agents
            if group.name in section.to
        )
        records = cut_records(section, stream_files(profile.base, section), room - TURN_HEADER.size - FRAME_HEADER.size)
        feed.add_stream(section, records, receivers)
    return feed


def _journal(
    profile: Profile, modules: Sequence[Module], header: bytes, reports: Sequence[ModelReport]
) -> tuple[JournalPort, Path]:
    from wavelock.core.journal import RunFileJournal

    path = _new_file(profile)
    journal = RunFileJournal(
        path,
        run_head(profile, modules, header, reports),
        {
            module.digest: (group.name, module.source.data)
            for group, module in zip(profile.agents, modules, strict=True)
        },
        turns=profile.record.turns,
        max_bytes=profile.limits.journal,
    )
    return journal, path


def _new_file(profile: Profile) -> Path:
    from wavelock.core.runfile import create_run_file, next_run_file

    if profile.record.file is not None:
        path = profile.path(profile.record.file)
        create_run_file(path)
        return path
    folder = Path("runs") if profile.record.folder is None else profile.path(profile.record.folder)
    return next_run_file(folder, profile.run.name)


def run_head(
    profile: Profile, modules: Sequence[Module], header: bytes, reports: Sequence[ModelReport]
) -> dict[str, str | bytes]:
    """The rows of a run file's table `run`: what a replay needs, and what people ask of a run."""

    def text(value: Any) -> str:
        return msgspec.json.encode(value).decode()

    return {
        "wavelock": VERSION,
        "profile": text(profile.raw),
        "profile_source": profile.source.encode(errors="backslashreplace").decode(),
        "group_modules": text(digests(modules)),
        "form": str(FORM_VERSION),
        "group_forms": text([module.form_digest for module in modules]),
        "header": header,
        "name": profile.run.name,
        "seed": str(profile.run.seed),
        "engine": profile.engine.use,
        "scheduler": profile.scheduler.use,
        "transport": profile.transport.use,
        "workers": f"{profile.workers.use}:{profile.workers.count}",
        "models": text(list(reports)),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "numpy": np.__version__,
    }
