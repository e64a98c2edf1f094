"""A whole run between two waves as bytes, from which it goes on elsewhere: on another engine, with other workers.

Rules:
- What a digest can come to depend on is in it, and nothing else: no engine, transport or worker.
- It fits a run of the same profile and modules alone, which the header's digest tells, and one that has not begun.
- Requests to models that are in flight are asked again; their answers are outside inputs as ever.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import numpy as np
from blake3 import blake3

from wavelock.core.errors import UserError
from wavelock.core.kernel import DueBatch, Kernel
from wavelock.core.population import Agent
from wavelock.core.timers import TimerRow
from wavelock.core.wave import Input, Request

_MAGIC: Final = b"wavelock-run-state-3\n"
"""What captures begin with; the number is the format's."""


class _Struct(msgspec.Struct, frozen=True, array_like=True):
    """Base of what is written: fields in order, no names."""


class AgentRow(_Struct, frozen=True):
    """An agent as the kernel knows it. instance: as its shard captured it, None before it is made and when it ended."""

    group: int
    index: int
    config: bytes
    mail: list[bytes]
    room: int
    parent: int
    parent_life: int
    spawn_tag: int
    depth: int
    life: int
    restarts: int
    timers: int
    watches: list[bytes]
    children: list[int]
    ended: int
    ready: int
    instance: bytes | None


class RunState(_Struct, frozen=True):
    """A run between two waves."""

    header: bytes
    wave: int
    digest: bytes
    scheduler: bytes
    agents: list[AgentRow]
    births: list[tuple[int, int]]
    """First id and count of agents that wait for an instance."""
    drops: list[int]
    timers: list[TimerRow]
    timer_number: int
    values: list[tuple[bytes, bytes]]
    watches: list[tuple[bytes, list[tuple[int, int]]]]
    batches: list[tuple[int, int, int, list[Request]]]
    streams: list[tuple[str, int]]
    """Each `[[inputs]]`: its name, and how many records it has given."""
    posts: list[Input]
    totals: list[int]


def encode(state: RunState) -> bytes:
    """A state as bytes: what they are, BLAKE3 of the rest, the rest."""
    data = msgspec.msgpack.encode(state)
    return _MAGIC + blake3(data).digest() + data


def decode(data: bytes, header: bytes) -> RunState:
    """A state from bytes, for a run with this header. Raises UserError for any other, and for damaged bytes."""
    body = data[len(_MAGIC) + 32 :]
    if data[: len(_MAGIC)] != _MAGIC:
        raise UserError(f"these bytes are no captured run that this Wavelock reads: {data[: len(_MAGIC)]!r}")
    if data[len(_MAGIC) : len(_MAGIC) + 32] != blake3(body).digest():
        raise UserError("the captured run is damaged: its checksum does not match")
    try:
        state = msgspec.msgpack.decode(body, type=RunState)
    except msgspec.MsgspecError as error:
        raise UserError(f"these bytes are no captured run: {error}") from None
    if state.header != header:
        raise UserError(
            "the captured run is of another profile, other modules or another version of Wavelock: its header's digest "
            f"is {state.header.hex()[:16]}, this run's {header.hex()[:16]}"
        )
    return state


def capture_kernel(
    kernel: Kernel,
    instances: Callable[[list[int]], Sequence[bytes]],
    feed: tuple[list[tuple[str, int]], list[Input]],
    totals: list[int],
) -> RunState:
    """The state of a run. instances: captures those of these agents, in order."""
    effects, population = kernel.effects, kernel.population
    unborn = {number for first, count in effects.births for number in range(first, first + count)}
    made = [number for number in range(len(population)) if not population.ended(number) and number not in unborn]
    captured = dict(zip(made, instances(made), strict=True))
    return RunState(
        header=kernel.header,
        wave=kernel.wave,
        digest=kernel.digest,
        scheduler=kernel.capture_scheduler(),
        agents=[_agent_row(kernel, number, captured.get(number)) for number in range(len(population))],
        births=list(effects.births),
        drops=list(effects.drops),
        timers=effects.timers.rows(),
        timer_number=effects.timers.number,
        values=list(effects.store.values.items()),
        watches=effects.store.watch_rows(),
        batches=[(batch.due, batch.wave, batch.model, batch.requests) for batch in kernel.batches],
        streams=feed[0],
        posts=feed[1],
        totals=totals,
    )


def _agent_row(kernel: Kernel, number: int, instance: bytes | None) -> AgentRow:
    agent, mailboxes = kernel.population.agent(number), kernel.mailboxes
    return AgentRow(
        group=agent.group.index,
        index=agent.index,
        config=agent.config,
        mail=mailboxes.mail(number),
        room=mailboxes.room(number),
        parent=agent.parent,
        parent_life=agent.parent_life,
        spawn_tag=agent.spawn_tag,
        depth=agent.depth,
        life=agent.life,
        restarts=agent.restarts,
        timers=int(mailboxes.timers[number]),
        watches=agent.watches,
        children=list(agent.children),
        ended=agent.ended,
        ready=int(mailboxes.ready[number]),
        instance=instance,
    )


def restore_kernel(kernel: Kernel, state: RunState) -> None:
    """Bring a kernel that has not begun to a captured state."""
    population, effects = kernel.population, kernel.effects
    for number, row in enumerate(state.agents):
        if number == len(population):
            group = population.groups[row.group]
            population.add(group)
            kernel.mailboxes.add(group.index, 1, row.room)
        agent = population.agent(number)
        _restore_agent(agent, row)
        if row.ready not in (0, 1):
            raise ValueError(f"agent {number}: ready is {row.ready}, expected 0 or 1")
        kernel.mailboxes.restore(number, row.mail, row.room, ready=bool(row.ready))
        kernel.mailboxes.timers[number] = row.timers
        if row.ended:
            population.remove(agent, row.ended)
            kernel.mailboxes.end(number)
    kernel.mailboxes.members_changed()
    effects.births[:] = state.births
    effects.drops[:] = state.drops
    effects.timers.restore(state.timers, state.timer_number)
    for key, value in state.values:
        effects.store.put(key, value)
    for prefix, watchers in state.watches:
        for watcher, tag in watchers:
            effects.store.watch(prefix, watcher, tag)
    kernel.batches = [DueBatch(*batch) for batch in state.batches]
    kernel.restore_chain(state.wave, state.digest, state.scheduler)


def _restore_agent(agent: Agent, row: AgentRow) -> None:
    agent.index, agent.config = row.index, row.config
    agent.parent, agent.parent_life, agent.spawn_tag = row.parent, row.parent_life, row.spawn_tag
    agent.depth, agent.life, agent.restarts = row.depth, row.life, row.restarts
    agent.watches, agent.children = list(row.watches), dict.fromkeys(row.children)


def instances_of(state: RunState) -> tuple[np.typing.NDArray[np.uint32], np.typing.NDArray[np.uint32], list[bytes]]:
    """Ids, groups and states of the agents whose instances were captured."""
    rows = [(number, row.group, row.instance) for number, row in enumerate(state.agents) if row.instance is not None]
    ids, groups = (np.array([row[column] for row in rows], np.uint32) for column in (0, 1))
    return ids, groups, [row[2] for row in rows]
