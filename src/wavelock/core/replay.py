"""Replay: run a run file again from itself alone, and compare.

Nothing outside the file is read: modules, profile, outside inputs and inference outputs come from its rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from wavelock._version import VERSION
from wavelock.core.assembly import Sources, assemble
from wavelock.core.digest import header_digest
from wavelock.core.divergence import Diverged, Divergence, ReplayReport, compare_turns, damage
from wavelock.core.errors import DamagedRunError, Problem, RunFileError
from wavelock.core.kernel import Kernel
from wavelock.core.modules import Made, Module, Source, form_options, make_module
from wavelock.core.ports import InferenceAnswer, ModelReport
from wavelock.core.profile import Profile
from wavelock.core.profile_reader import DEFAULTS, build_profile, override
from wavelock.core.recorded import RecordedTables
from wavelock.core.runreader import DamagedRowError, RunFileReader, WaveRow
from wavelock.core.runtime import RunLoop
from wavelock.core.turnrows import read_turns, turn_rows
from wavelock.core.wave import Input, WaveRecord
from wavelock.plugins.manager import Registry


class JournalInference:
    """A `ports.InferencePort` that answers from a run file."""

    def __init__(self, reader: RunFileReader) -> None:
        self._reader = reader
        self._sizes: dict[tuple[int, int], int] = {}

    def submit(self, wave: int, model: int, payloads: Sequence[bytes]) -> None:
        """Remember how many answers are owed."""
        self._sizes[wave, model] = len(payloads)

    def collect(self, wave: int, model: int) -> list[InferenceAnswer]:
        """The answers that the run file holds. Raises DamagedRunError where they are not what is owed."""
        owed = self._sizes.pop((wave, model))
        answers = self._reader.answers(wave, model)
        if len(answers) != owed:
            raise DamagedRunError(
                f"the table inference holds {len(answers)} answers to the requests of wave {wave} to model {model}; "
                f"this run asked for {owed}"
            )
        return answers

    def reports(self) -> list[ModelReport]:
        """None: no model is loaded."""
        return []

    def close(self) -> None:
        """Nothing to close."""


class JournalFeed:
    """A `ports.FeedPort` that gives what a run file's waves took in."""

    waiting = False

    def __init__(self, reader: RunFileReader) -> None:
        self._reader = reader
        self.wave: int | None = None

    def attach(self, kernel: Kernel) -> JournalFeed:
        """Be told of the kernel, as `Sources.make_feed`."""
        self.kernel = kernel
        return self

    def agent_name(self, number: int) -> str:
        """An agent's name in the replay: the file's own table may be what is damaged."""
        population = self.kernel.population
        return population.name(number) if 0 <= number < len(population) else f"#{number}"

    def next_wave(self, wave: int | None) -> int | None:
        """The wave that the replay is at, whatever the kernel proposes: a difference shows in the digest."""
        return self.wave

    def take(self, wave: int) -> list[Input]:
        """The recorded inputs of a wave. Raises DamagedRowError."""
        taken = self._reader.inputs(wave)
        for at, row in enumerate(taken):
            if not 0 <= row.agent < len(self.kernel.population):
                raise DamagedRowError("inputs", wave, f"#{row.agent}", f"position {at}: there is no such agent")
        return taken

    def close(self) -> None:
        """Nothing to close."""


class LastRecord:
    """A `ports.JournalPort` that keeps the last wave alone: what a comparison needs."""

    def __init__(self) -> None:
        self.record = WaveRecord(0)

    def write(self, record: WaveRecord) -> None:
        """Keep it."""
        self.record = record

    def close(self, ended: str) -> None:
        """Nothing to close."""


def recorded_profile(reader: RunFileReader, registry: Registry, settings: Sequence[str]) -> Profile:
    """The profile of a run file, with overrides. Raises ProfileError for what cannot be used here."""
    raw = reader.profile()
    source = f"{reader.path}: the recorded profile"
    _drop_unavailable(raw, registry)
    override(raw, settings, source)
    # The bound on waves is the recording's; how far the file goes is seen in its rows.
    if isinstance(raw.get("run"), dict):
        raw["run"].pop("waves", None)
    return build_profile(raw, source, Path(), registry.settings, files=False)


def _drop_unavailable(raw: dict[str, Any], registry: Registry) -> None:
    """Have the defaults in place of members that the recording used and that are not here: no digest can tell."""
    for family in ("engine", "transport", "workers"):
        table = raw.get(family)
        if isinstance(table, dict) and isinstance(
            registry.settings(family, table.get("use", DEFAULTS[family])), Problem
        ):
            raw[family] = {key: table[key] for key in ("features",) if key in table}


def recorded_modules(reader: RunFileReader, profile: Profile) -> list[Module]:
    """The modules of a run file, checked. Raises DamagedRunError."""
    digests = reader.group_modules()
    if len(digests) != len(profile.agents):
        raise DamagedRunError(f"{reader.path}: {len(digests)} modules for {len(profile.agents)} groups")
    modules, made = [], Made()
    for group, digest in zip(profile.agents, digests, strict=True):
        source = Source(f"{reader.path}: module of {group.name}", digest, reader.module(digest))
        modules.append(make_module(source, form_options(profile, group), made))
    return modules


def replay(
    path: str | Path,
    registry: Registry | None = None,
    settings: Sequence[str] = (),
    on_wave: Callable[[int, int], None] | None = None,
) -> ReplayReport:
    """Replay a run file; compare every wave's digest, and every row that the replay computes anew.

    settings: overrides such as `engine.use=wasmer` or `workers.count=4`; what agents can notice cannot be changed.
    on_wave: told (waves done, last wave of the file). Raises RunFileError for a file that cannot be read.
    """
    registry = registry or Registry()
    with RunFileReader(path) as reader:
        (final,) = reader.rows("SELECT max(wave) FROM waves")[0]
        if final is None:
            raise RunFileError(f"{reader.path}: holds no committed wave; there is nothing to replay")
        comparison = _Comparison(reader)
        try:
            reader.check_head()
            with comparison.begin(registry, settings):
                for row in reader.waves():
                    comparison.step(row)
                    if on_wave is not None:
                        on_wave(comparison.waves, final)
                comparison.end()
        except DamagedRunError as error:
            return comparison.report(damage(error))
        except Diverged as error:
            return comparison.report(error.divergence)
        return comparison.report(None)


class _Comparison:
    """A run file beside the same run again: in step, wave by wave."""

    def __init__(self, reader: RunFileReader) -> None:
        self.waves = 0
        self._reader = reader
        self._turns = 0
        self._digest = ""
        self._last = LastRecord()

    def begin(self, registry: Registry, settings: Sequence[str]) -> RunLoop:
        """Assemble the run from the file's rows. Raises DamagedRunError, UserError."""
        reader, last = self._reader, self._last
        profile = recorded_profile(reader, registry, settings)
        modules = recorded_modules(reader, profile)
        if header_digest(profile, [module.digest for module in modules]) != reader.head["header"]:
            raise DamagedRunError(
                "the header's digest is not the recorded one: an override that agents notice, or another version of "
                f"Wavelock (the run was written by {reader.head['wavelock']}, this is {VERSION})"
            )
        if [module.form_digest for module in modules] != reader.group_forms():
            raise DamagedRunError(
                "the deterministic form of a module is not the recorded one: the file was made by another build of "
                "wavelock, which replays it, or is damaged"
            )
        self._feed = JournalFeed(reader)
        sources = Sources(modules, JournalInference(reader), self._feed.attach, lambda *_: (last, reader.path))
        self._loop = RunLoop(assemble(profile, registry, sources))
        names = {module.digest: group.name for group, module in zip(profile.agents, modules, strict=True)}
        self._tables = RecordedTables(reader, self._feed.agent_name, profile.record.turns, names)
        return self._loop

    def step(self, row: WaveRow) -> None:
        """Run the wave of a row again and compare. Raises Diverged."""
        proposed = self._feed.kernel.next_wave(False)
        if row.wave not in (self._feed.kernel.wave + 1, proposed):
            raise Diverged(self._feed.kernel.wave + 1, "", f"missing: the file goes on with wave {row.wave}")
        self._feed.wave = row.wave
        self._loop.step()
        record = self._last.record
        if record.digest != row.digest:
            raise Diverged(*_first_difference(row, record, self._feed.agent_name))
        self._tables.compare(row, record)
        self._digest = row.digest.hex()
        self.waves, self._turns = self.waves + 1, self._turns + row.turns

    def end(self) -> None:
        """Compare what is known at the end alone. Raises Diverged."""
        head, wave = self._reader.head, self._last.record.wave
        if "ended" in head and head.get("digest") != self._last.record.digest:
            raise Diverged(wave, "", "the file's last wave is not the one that the run ended with: waves are missing")
        self._tables.end(wave)

    def report(self, divergence: Divergence | None) -> ReplayReport:
        """What came of it so far."""
        ended = str(self._reader.head.get("ended", ""))
        return ReplayReport(divergence is None, self._digest, self.waves, self._turns, ended, divergence)


def _first_difference(row: WaveRow, record: WaveRecord, name: Callable[[int], str]) -> tuple[int | None, str, str]:
    """Which agent's turn differs first between a recorded wave and the same wave run again."""
    try:
        recorded = read_turns(row.detail) if row.detail is not None else None
    except ValueError as error:
        return row.wave, "", f"the digest differs, and the wave's turn details are damaged ({error})"
    found = compare_turns(row.wave, recorded, turn_rows(record), name, ("recorded", "replayed"))
    return found.wave, found.agent, found.what
