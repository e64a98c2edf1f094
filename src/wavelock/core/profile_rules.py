"""What must hold between the keys of a profile: names that exist, cycles, bounds that fit, files that are there."""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, Final

from wavelock.core.abi import FRAME_HEADER, TURN_HEADER
from wavelock.core.errors import Problem
from wavelock.core.graph import find_cycle
from wavelock.core.profile import MAX_SEED, AgentSection, InputSection
from wavelock.core.reading import nearest, shown

MIN_INBOX: Final = TURN_HEADER.size + 2 * FRAME_HEADER.size
MIN_STACK, MAX_STACK = 16 << 10, 1 << 20
MIN_MAILBOX: Final = 2 * FRAME_HEADER.size
MAX_MEMORY: Final = 4 << 30


@dataclass(frozen=True)
class Sections:
    """The sections of a profile as far as they could be built, for the rules between them.

    tables: None for one that has problems. arrays: an item that has problems is None, in its place.
    names: what the items of an array call themselves, those with problems too; None where it is no array.
    """

    tables: Mapping[str, Any]
    arrays: Mapping[str, tuple[Any, ...]]
    names: Mapping[str, tuple[str, ...] | None]

    def items(self, key: str) -> Iterator[tuple[int, Any]]:
        """The sound items of an array, each with its index in the profile."""
        return ((index, item) for index, item in enumerate(self.arrays[key]) if item is not None)


def check_rules(built: Sections, problems: list[Problem]) -> None:
    """Append every problem that the sections show together."""
    for rule in _RULES:
        problems += rule(built)


def _unique_names(built: Sections) -> Iterable[Problem]:
    for key in ("agents", "models", "topics", "inputs"):
        seen: dict[str, int] = {}
        for index, item in built.items(key):
            if item.name in seen:
                what = f'"{item.name}" is taken by {key}[{seen[item.name]}]; names must differ'
                yield Problem(f"{key}[{index}].name", what)
            seen.setdefault(item.name, index)


def _some_agents(built: Sections) -> Iterable[Problem]:
    limits = built.tables["limits"]
    total = sum(group.count for _, group in built.items("agents"))
    if total == 0 and None not in built.arrays["agents"]:
        yield Problem("agents", "a run needs at least one agent: add [[agents]] with name and module (count above 0)")
    if limits is not None and total > limits.agents:
        yield Problem("agents", f"{total} agents are more than limits.agents = {limits.agents}; raise that limit")


def _references(built: Sections) -> Iterable[Problem]:
    groups, models, topics = (built.names[key] for key in ("agents", "models", "topics"))
    for index, group in built.items("agents"):
        where = f"agents[{index}]"
        yield from _known(group.after, groups, f"{where}.after", "group")
        yield from _known(group.grants.models, models, f"{where}.grants.models", "model", star=True)
        yield from _known(group.grants.topics, topics, f"{where}.grants.topics", "topic", star=True)
        yield from _known(group.grants.spawn, groups, f"{where}.grants.spawn", "group", star=True)
    for index, topic in built.items("topics"):
        yield from _known(topic.subscribers, groups, f"topics[{index}].subscribers", "group")
    for index, stream in built.items("inputs"):
        yield from _known(stream.to, groups, f"inputs[{index}].to", "group")


def _known(
    found: Iterable[str], names: tuple[str, ...] | None, where: str, what: str, star: bool = False
) -> Iterable[Problem]:
    if names is None:
        return
    for name in found:
        if name not in names and not (star and name == "*"):
            yield Problem(where, f'no {what} is named "{name}"{nearest(name, names)}')


def _topic_count(built: Sections) -> Iterable[Problem]:
    count = sum(1 for _ in built.items("topics"))
    if count >= 0xFFFF:
        yield Problem("topics", f"{count} are more than the 65,534 that a frame's flags can name")


def _cycles(built: Sections) -> Iterable[Problem]:
    groups = {group.name: (index, group.after) for index, group in built.items("agents")}
    cycle = find_cycle({name: after for name, (_, after) in groups.items()})
    if cycle:
        where = f"agents[{groups[cycle[0]][0]}].after"
        yield Problem(where, f"a cycle: {' after '.join(cycle)}; take one of these out")


def _ranges(built: Sections) -> Iterable[Problem]:
    run, limits = built.tables["run"], built.tables["limits"]
    if run is not None and run.seed > MAX_SEED:
        yield Problem("run.seed", f"expected 0 to 2^64 - 1, found {shown(run.seed)}")
    if limits is not None:
        yield from _limit_ranges(limits, "limits")
    for index, group in built.items("agents"):
        yield from _limit_ranges(group.limits, f"agents[{index}].limits")


def _limit_ranges(limits: Any, where: str) -> Iterable[Problem]:
    if limits.inbox is not None and limits.inbox < MIN_INBOX:
        yield Problem(f"{where}.inbox", f"{limits.inbox} bytes hold no frame; at least {MIN_INBOX} are needed")
    if limits.mailbox is not None and limits.mailbox < MIN_MAILBOX:
        yield Problem(f"{where}.mailbox", f"{limits.mailbox} bytes hold no frame; at least {MIN_MAILBOX} are needed")
    if limits.memory is not None and limits.memory > MAX_MEMORY:
        yield Problem(f"{where}.memory", f"{limits.memory} bytes are past 4 GiB, a 32-bit memory's end")
    for key in ("inbox", "outbox", "mailbox"):
        size = getattr(limits, key)
        if size is not None and size > 1 << 30:
            yield Problem(f"{where}.{key}", f"{size} bytes are past 1 GiB")
    stack = getattr(limits, "stack", None)
    if stack is not None and not MIN_STACK <= stack <= MAX_STACK:
        yield Problem(f"{where}.stack", f"{stack} bytes; expected 16 KiB to 1 MiB")


def _configs(built: Sections) -> Iterable[Problem]:
    for index, group in built.items("agents"):
        where = f"agents[{index}].config"
        try:
            _check_whole_numbers(group.config)
            config_bytes(group)
        except RecursionError:
            yield Problem(where, "has no JSON form: it is nested too deep")
        except (TypeError, ValueError) as error:
            yield Problem(where, f"has no JSON form: {error}; use text, numbers, arrays and tables")


def _check_whole_numbers(value: object) -> None:
    """Raises ValueError for a whole number that run files, as JSON readers elsewhere, cannot hold."""
    if isinstance(value, int) and not -(2**63) <= value <= MAX_SEED:
        raise ValueError(f"{shown(value)} has more than 64 bits")
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _check_whole_numbers(item)


def config_bytes(group: AgentSection) -> bytes:
    """What an agent is given with its start: a string's own bytes, a table as JSON with sorted keys and no spaces."""
    if isinstance(group.config, str):
        return group.config.encode()
    text = json.dumps(group.config, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def _inputs(built: Sections) -> Iterable[Problem]:
    counts = {group.name: group.count for _, group in built.items("agents")}
    for index, stream in built.items("inputs"):
        where = f"inputs[{index}]"
        if stream.cut == "fixed" and not stream.record_bytes:
            yield Problem(f"{where}.record_bytes", 'is needed, above 0, for cut = "fixed"')
        if stream.cut != "fixed" and stream.record_bytes is not None:
            yield Problem(f"{where}.record_bytes", f'is only for cut = "fixed", found cut = "{stream.cut}"')
        if all(counts.get(name) == 0 for name in stream.to):
            yield Problem(f"{where}.to", "these groups have no agents at the start (count = 0)")


_RULES: Final[tuple[Callable[[Sections], Iterable[Problem]], ...]] = (
    _unique_names,
    _some_agents,
    _references,
    _topic_count,
    _cycles,
    _ranges,
    _configs,
    _inputs,
)


def check_files(built: Sections, base: Path, problems: list[Problem]) -> None:
    """Append a problem for every file or folder that the profile names and that is not there.

    `os.path` answers for a path that no system takes (too long, a zero byte in it), where `pathlib` raises.
    """
    for index, group in built.items("agents"):
        if not os.path.isfile(base / group.module):
            problems.append(Problem(f"agents[{index}].module", f"no such file: {base / group.module}"))
    for index, model in built.items("models"):
        if not os.path.isdir(base / model.repository):
            problems.append(Problem(f"models[{index}].repository", f"no such folder: {base / model.repository}"))
    for index, stream in built.items("inputs"):
        for pattern in stream.files:
            if not matching_files(base, pattern):
                problems.append(Problem(f"inputs[{index}].files", f"nothing matches {base / pattern}"))


def matching_files(base: Path, pattern: str) -> list[Path]:
    """The files that a pattern names, in order of their paths' code points: the same on every system.

    A file of exactly this name comes before what the name means as a pattern.
    """
    if "\0" in pattern:
        return []
    if os.path.isfile(base / pattern):
        return [base / pattern]
    found = sorted(PurePath(name).as_posix() for name in glob.glob(pattern, root_dir=base, recursive=True))
    return [base / name for name in found if os.path.isfile(base / name)]


def stream_files(base: Path, stream: InputSection) -> list[Path]:
    """All files of an input stream: patterns in the profile's order, files sorted within each."""
    return [path for pattern in stream.files for path in matching_files(base, pattern)]
