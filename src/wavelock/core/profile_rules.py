"""What must hold between the keys of a profile: names that exist, cycles, bounds that fit, files that are there."""

from __future__ import annotations

import glob
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from wavelock.core.abi import FRAME_HEADER, TURN_HEADER
from wavelock.core.errors import Problem
from wavelock.core.profile import MAX_SEED, AgentSection, InputSection
from wavelock.core.reading import nearest

MIN_INBOX: Final = TURN_HEADER.size + 2 * FRAME_HEADER.size
MAX_MEMORY: Final = 4 << 30
Sections = Mapping[str, Any]


def check_rules(built: Sections, problems: list[Problem]) -> None:
    """Append every problem that the sections show together. Sections that did not build are absent from `built`."""
    for rule in _RULES:
        problems += rule(built)


def _names(built: Sections, key: str) -> list[str]:
    return [item.name for item in built.get(key, ())]


def _unique_names(built: Sections) -> Iterable[Problem]:
    for key in ("agents", "models", "topics", "inputs"):
        seen: dict[str, int] = {}
        for index, name in enumerate(_names(built, key)):
            if name in seen:
                yield Problem(f"{key}[{index}].name", f'"{name}" is taken by {key}[{seen[name]}]; names must differ')
            seen.setdefault(name, index)


def _some_agents(built: Sections) -> Iterable[Problem]:
    groups = built.get("agents", ())
    limits = built.get("limits")
    total = sum(group.count for group in groups)
    if not groups or total == 0:
        yield Problem("agents", "a run needs at least one agent: add [[agents]] with name and module (count above 0)")
    if limits is not None and total > limits.agents:
        yield Problem("agents", f"{total} agents are more than limits.agents = {limits.agents}; raise that limit")


def _references(built: Sections) -> Iterable[Problem]:
    groups, models, topics = (_names(built, key) for key in ("agents", "models", "topics"))
    for index, group in enumerate(built.get("agents", ())):
        where = f"agents[{index}]"
        yield from _known(group.after, groups, f"{where}.after", "group")
        yield from _known(group.grants.models, models, f"{where}.grants.models", "model", star=True)
        yield from _known(group.grants.topics, topics, f"{where}.grants.topics", "topic", star=True)
        yield from _known(group.grants.spawn, groups, f"{where}.grants.spawn", "group", star=True)
    for index, topic in enumerate(built.get("topics", ())):
        yield from _known(topic.subscribers, groups, f"topics[{index}].subscribers", "group")
    for index, stream in enumerate(built.get("inputs", ())):
        yield from _known(stream.to, groups, f"inputs[{index}].to", "group")


def _known(found: Iterable[str], names: list[str], where: str, what: str, star: bool = False) -> Iterable[Problem]:
    for name in found:
        if name not in names and not (star and name == "*"):
            yield Problem(where, f'no {what} is named "{name}"{nearest(name, names)}')


def _cycles(built: Sections) -> Iterable[Problem]:
    after = {group.name: group.after for group in built.get("agents", ())}
    cycle = find_cycle(after)
    if cycle:
        index = _names(built, "agents").index(cycle[0])
        yield Problem(f"agents[{index}].after", f"a cycle: {' after '.join(cycle)}; take one of these out")


def find_cycle(after: Mapping[str, Iterable[str]]) -> tuple[str, ...]:
    """The first cycle found, `(a, b, a)`, walking in the mapping's order; empty where there is none."""
    done: dict[str, bool] = {}
    for start in after:
        path = [start] if start not in done else []
        branches = [iter(after[start])]
        done.setdefault(start, False)
        while path:
            step = next((name for name in branches[-1] if name in after), None)
            if step is None:
                done[path.pop()] = True
                branches.pop()
            elif step in path:
                return (*path[path.index(step) :], step)
            elif not done.get(step):
                done[step] = False
                path.append(step)
                branches.append(iter(after[step]))
    return ()


def _ranges(built: Sections) -> Iterable[Problem]:
    run = built.get("run")
    if run is not None and run.seed > MAX_SEED:
        yield Problem("run.seed", f"{run.seed} is past 2^64 - 1")
    limits = built.get("limits")
    if limits is not None:
        yield from _limit_ranges(limits, "limits")
    for index, group in enumerate(built.get("agents", ())):
        yield from _limit_ranges(group.limits, f"agents[{index}].limits")


def _limit_ranges(limits: Any, where: str) -> Iterable[Problem]:
    if limits.inbox is not None and limits.inbox < MIN_INBOX:
        yield Problem(f"{where}.inbox", f"{limits.inbox} bytes hold no frame; at least {MIN_INBOX} are needed")
    if limits.memory is not None and limits.memory > MAX_MEMORY:
        yield Problem(f"{where}.memory", f"{limits.memory} bytes are past 4 GiB, a 32-bit memory's end")
    for key in ("inbox", "outbox", "mailbox"):
        size = getattr(limits, key)
        if size is not None and size > 1 << 30:
            yield Problem(f"{where}.{key}", f"{size} bytes are past 1 GiB")
    stack = getattr(limits, "stack", None)
    if stack is not None and not 16 << 10 <= stack <= 4 << 20:
        yield Problem(f"{where}.stack", f"{stack} bytes; expected 16 KiB to 4 MiB")


def _configs(built: Sections) -> Iterable[Problem]:
    for index, group in enumerate(built.get("agents", ())):
        try:
            config_bytes(group)
        except (TypeError, ValueError) as error:
            yield Problem(f"agents[{index}].config", f"has no JSON form: {error}; use text, numbers, arrays and tables")


def config_bytes(group: AgentSection) -> bytes:
    """What an agent is given with its start: a string's own bytes, a table as JSON with sorted keys and no spaces."""
    if isinstance(group.config, str):
        return group.config.encode()
    text = json.dumps(group.config, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def _inputs(built: Sections) -> Iterable[Problem]:
    counts = {group.name: group.count for group in built.get("agents", ())}
    for index, stream in enumerate(built.get("inputs", ())):
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
    _cycles,
    _ranges,
    _configs,
    _inputs,
)


def check_files(built: Sections, base: Path, problems: list[Problem]) -> None:
    """Append a problem for every file or folder that the profile names and that is not there."""
    for index, group in enumerate(built.get("agents", ())):
        if not (base / group.module).is_file():
            problems.append(Problem(f"agents[{index}].module", f"no such file: {base / group.module}"))
    for index, model in enumerate(built.get("models", ())):
        if not (base / model.repository).is_dir():
            problems.append(Problem(f"models[{index}].repository", f"no such folder: {base / model.repository}"))
    for index, stream in enumerate(built.get("inputs", ())):
        for pattern in stream.files:
            if not matching_files(base, pattern):
                problems.append(Problem(f"inputs[{index}].files", f"nothing matches {base / pattern}"))


def matching_files(base: Path, pattern: str) -> list[Path]:
    """The files that a pattern names, in order of their paths' code points: the same on every system."""
    found = glob.glob(pattern, root_dir=base, recursive=True)
    return [base / name for name in sorted(name.replace("\\", "/") for name in found) if (base / name).is_file()]


def stream_files(base: Path, stream: InputSection) -> list[Path]:
    """All files of an input stream: patterns in the profile's order, files sorted within each."""
    return [path for pattern in stream.files for path in matching_files(base, pattern)]
