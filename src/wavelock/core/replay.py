"""Replay: run a run file again from itself alone, and compare every wave's digest.

Nothing outside the file is read: modules, profile, outside inputs and inference outputs come from its rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wavelock.core.abi import Fault
from wavelock.core.assembly import Module, Sources, assemble
from wavelock.core.digest import header_digest
from wavelock.core.errors import DamagedRunError, ProfileError, RunFileError
from wavelock.core.kernel import Kernel
from wavelock.core.ports import InferenceAnswer, ModelReport
from wavelock.core.profile import Profile
from wavelock.core.profile_reader import build_profile, override
from wavelock.core.runfile import read_turn_details, turn_details
from wavelock.core.runreader import DamagedRowError, RunFileReader, WaveRow
from wavelock.core.runtime import RunLoop
from wavelock.core.wave import Input, WaveRecord
from wavelock.plugins.manager import Registry


@dataclass(frozen=True)
class Divergence:
    """The first place where two runs differ. agent: empty where no single one can be named. what: found, expected."""

    wave: int | None
    agent: str
    what: str

    def __str__(self) -> str:
        where = [f"wave {self.wave}"] if self.wave is not None else []
        where += [f"agent {self.agent}"] if self.agent else []
        return f"{', '.join(where)}: {self.what}" if where else self.what


@dataclass(frozen=True)
class ReplayReport:
    """The outcome of a replay or a diff. waves, turns: what was compared. digest: of the last wave that agreed, hex."""

    identical: bool
    digest: str
    waves: int
    turns: int
    ended: str
    first_divergence: Divergence | None


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

    def next_wave(self, wave: int | None) -> int | None:
        """The wave that the replay is at, whatever the kernel proposes: a difference shows in the digest."""
        return self.wave

    def take(self, wave: int) -> list[Input]:
        """The recorded inputs of a wave."""
        return self._reader.inputs(wave)

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
    """The profile of a run file, with overrides. Raises DamagedRunError, ProfileError."""
    raw = reader.profile()
    source = f"{reader.path}: profile"
    override(raw, settings, source)
    # The bound on waves is the recording's; how far the file goes is seen in its rows.
    raw.get("run", {}).pop("waves", None)
    return build_profile(raw, source, Path(), registry.settings, files=False)


def recorded_modules(reader: RunFileReader, profile: Profile) -> list[Module]:
    """The modules of a run file, checked. Raises DamagedRunError."""
    digests = reader.group_modules()
    if len(digests) != len(profile.agents):
        raise DamagedRunError(f"{reader.path}: {len(digests)} modules for {len(profile.agents)} groups")
    return [
        Module(f"{reader.path}: module of {group.name}", digest, reader.module(digest))
        for group, digest in zip(profile.agents, digests, strict=True)
    ]


def replay(
    path: str | Path,
    registry: Registry | None = None,
    settings: Sequence[str] = (),
    on_wave: Callable[[int, int], None] | None = None,
) -> ReplayReport:
    """Replay a run file and compare every wave.

    settings: overrides such as `engine.use=wasmer` or `workers.count=4`; what agents can notice cannot be changed.
    on_wave: told (waves done, last wave of the file). Raises RunFileError for a file that cannot be read.
    """
    registry = registry or Registry()
    with RunFileReader(path) as reader:
        try:
            return _replay(reader, registry, settings, on_wave)
        except DamagedRowError as error:
            what = f"a row of the table {error.table} is damaged ({error.what})"
            return _differs(Divergence(error.wave, error.agent, what), reader)
        except DamagedRunError as error:
            return _differs(Divergence(None, "", str(error)), reader)


def _differs(divergence: Divergence, reader: RunFileReader, waves: int = 0, turns: int = 0) -> ReplayReport:
    return ReplayReport(False, "", waves, turns, str(reader.head.get("ended", "")), divergence)


def _replay(
    reader: RunFileReader,
    registry: Registry,
    settings: Sequence[str],
    on_wave: Callable[[int, int], None] | None,
) -> ReplayReport:
    try:
        profile = recorded_profile(reader, registry, settings)
    except ProfileError as error:
        if settings:
            raise
        raise DamagedRunError(f"the recorded profile cannot be used: {error}") from None
    modules = recorded_modules(reader, profile)
    header = header_digest(profile, [module.digest for module in modules])
    if header != reader.head["header"]:
        raise DamagedRunError(
            "the header's digest is not the recorded one: the profile's row was changed, or another version of "
            f"Wavelock wrote it (found {reader.head['wavelock']})"
        )
    last = LastRecord()
    feeds: list[JournalFeed] = []

    def make_feed(_kernel: Kernel) -> JournalFeed:
        feeds.append(JournalFeed(reader))
        return feeds[0]

    sources = Sources(modules, JournalInference(reader), make_feed, lambda _header, _reports: (last, reader.path))
    with RunLoop(assemble(profile, registry, sources)) as loop:
        return _compare_all(loop, feeds[0], last, reader, on_wave)


def _compare_all(
    loop: RunLoop,
    feed: JournalFeed,
    last: LastRecord,
    reader: RunFileReader,
    on_wave: Callable[[int, int], None] | None,
) -> ReplayReport:
    (final,) = reader.rows("SELECT coalesce(max(wave), -1) FROM waves")[0]
    digest = ""
    done = turns = 0
    for row in reader.waves():
        feed.wave = row.wave
        loop.step()
        if last.record.digest != row.digest:
            divergence = first_difference(row, last.record, reader.agent_name)
            return _differs(divergence, reader, done, turns)
        digest = row.digest.hex()
        done, turns = done + 1, turns + row.turns
        if on_wave is not None:
            on_wave(done, final)
    if not done:
        raise RunFileError(f"{reader.path}: holds no committed wave; there is nothing to replay")
    return ReplayReport(True, digest, done, turns, str(reader.head.get("ended", "")), None)


def first_difference(row: WaveRow, record: WaveRecord, name: Callable[[int], str]) -> Divergence:
    """Which agent's turn differs first between a recorded wave and the same wave run again."""
    try:
        recorded = read_turn_details(row.detail) if row.detail is not None else None
    except ValueError as error:
        return Divergence(row.wave, "", f"the digest differs, and the wave's turn details are damaged ({error})")
    return compare_turns(row.wave, recorded, turn_details(record), name, "recorded", "replayed")


def compare_turns(
    wave: int,
    one: np.typing.NDArray[np.void] | None,
    other: np.typing.NDArray[np.void] | None,
    name: Callable[[int], str],
    one_called: str,
    other_called: str,
) -> Divergence:
    """The first turn that differs between two waves of one number, in words."""
    if one is None or other is None:
        return Divergence(wave, "", "the digests differ; record.turns was off, so no agent can be named")
    for mine, theirs in zip(one, other, strict=False):
        if mine["agent"] != theirs["agent"]:
            what = f"{one_called} the turn of {name(int(mine['agent']))}, {other_called} {name(int(theirs['agent']))}"
            return Divergence(wave, name(int(mine["agent"])), what)
        if mine != theirs:
            return Divergence(wave, name(int(mine["agent"])), _turn_difference(mine, theirs, one_called, other_called))
    if len(one) != len(other):
        longer = one if len(one) > len(other) else other
        agent = name(int(longer[min(len(one), len(other))]["agent"]))
        return Divergence(wave, agent, f"{one_called} {len(one)} turns, {other_called} {len(other)}")
    return Divergence(wave, "", "all turns agree; the outside inputs or the digest's own row differ")


def _turn_difference(one: Any, other: Any, one_called: str, other_called: str) -> str:
    for field, label in (("fault", "fault"), ("fuel", "fuel"), ("outbox_bytes", "outbox bytes")):
        if one[field] != other[field]:
            values = [int(one[field]), int(other[field])]
            if field == "fault":
                return f"{label} {one_called} {_fault(values[0])}, {other_called} {_fault(values[1])}"
            return f"{label} {one_called} {values[0]}, {other_called} {values[1]}"
    return f"outboxes of the same length differ (CRC-32 {int(one['outbox_crc']):08x}, {int(other['outbox_crc']):08x})"


def _fault(code: int) -> str:
    return Fault(code).label if code in Fault._value2member_map_ else str(code)


def diff(path: str | Path, other_path: str | Path) -> ReplayReport:
    """Compare two run files wave by wave. Raises RunFileError for a file that cannot be read."""
    with RunFileReader(path) as one, RunFileReader(other_path) as other:
        if one.head["header"] != other.head["header"]:
            return _differs(Divergence(None, "", _header_difference(one, other)), one)
        return _diff_waves(one, other)


def _header_difference(one: RunFileReader, other: RunFileReader) -> str:
    mine, theirs = one.profile(), other.profile()
    keys = [key for key in sorted({*mine, *theirs}) if mine.get(key) != theirs.get(key)]
    if keys:
        return f"the runs began differently: their profiles differ in {', '.join(keys)}"
    if one.group_modules() != other.group_modules():
        return "the runs began differently: their modules differ"
    return f"the runs began differently: written by {one.head['wavelock']} and {other.head['wavelock']}"


def _diff_waves(one: RunFileReader, other: RunFileReader) -> ReplayReport:
    digest, done, turns = "", 0, 0
    theirs = other.waves()
    for row in one.waves():
        match = next(theirs, None)
        if match is None:
            what = f"only {one.path} has this wave; {other.path} ends before it"
            return _differs(Divergence(row.wave, "", what), one, done, turns)
        if (row.wave, row.digest) != (match.wave, match.digest):
            return _differs(_diff_wave(row, match, one, other), one, done, turns)
        digest, done, turns = row.digest.hex(), done + 1, turns + row.turns
    extra = next(theirs, None)
    if extra is not None:
        what = f"only {other.path} has this wave; {one.path} ends before it"
        return _differs(Divergence(extra.wave, "", what), one, done, turns)
    return ReplayReport(True, digest, done, turns, str(one.head.get("ended", "")), None)


def _diff_wave(row: WaveRow, match: WaveRow, one: RunFileReader, other: RunFileReader) -> Divergence:
    if row.wave != match.wave:
        return Divergence(min(row.wave, match.wave), "", f"wave {row.wave} against wave {match.wave}")
    if one.inputs(row.wave) != other.inputs(row.wave):
        return Divergence(row.wave, "", "different outside inputs entered before this wave")
    if (answer := _first_answer_difference(row.wave, one, other)) is not None:
        return Divergence(row.wave, one.agent_name(answer), "different inference answers entered before this wave")
    details = [read_turn_details(side.detail) if side.detail is not None else None for side in (row, match)]
    return compare_turns(row.wave, details[0], details[1], one.agent_name, "first", "second")


def _first_answer_difference(wave: int, one: RunFileReader, other: RunFileReader) -> int | None:
    query = "SELECT agent, checksum FROM inference WHERE wave = ? ORDER BY request_wave, position"
    for mine, theirs in zip(one.rows(query, wave), other.rows(query, wave), strict=False):
        if mine != theirs:
            return int(mine[0])
    return None
