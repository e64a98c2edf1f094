"""What each effect does. Called in plan order and, for one agent, in the order it wrote them.

Rules:
- An effect that cannot be done is answered to the agent that asked, with the reason; it never stops the run.
- Answers obey the same mailbox bounds as messages; one that does not fit is lost, and the log says so.
- Nothing here depends on when or where a turn ran.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from wavelock.core.abi import (
    FRAME_HEADER,
    I32,
    TURN_HEADER,
    U16,
    U32,
    U64,
    WORLD,
    DirectoryKind,
    EndReason,
    Flag,
    Inbound,
    Outbound,
    Reason,
    directory_row,
    frame,
)
from wavelock.core.mailboxes import Mailboxes, TimerArray
from wavelock.core.outbox import Effect
from wavelock.core.population import NO_PARENT, Agent, Group, Population
from wavelock.core.profile import LimitsSection
from wavelock.core.shard import U32Array
from wavelock.core.store import Store
from wavelock.core.timers import Timers
from wavelock.core.wave import Birth, Ending, LogRow, OutputRow, Put, Request, WaveRecord

LEVEL_WARNING: Final = 1
LAST_WAVE: Final = 1 << 62
"""A timer past this wave is refused: wave numbers stay within a signed 64-bit integer, and no run gets there."""
_SIZED: Final = frozenset(
    (Outbound.SEND, Outbound.PUBLISH, Outbound.INFER, Outbound.PUT, Outbound.GET, Outbound.SPAWN, Outbound.WATCH)
)
"""The effects that `limits.message` bounds: those whose payload may have any size, but for logs."""
_SHOWN_BYTES: Final = 32
_ASKED_BY: Final[dict[int, Outbound]] = {
    Inbound.INFERENCE: Outbound.INFER,
    Inbound.STATE: Outbound.GET,
    Inbound.DIRECTORY: Outbound.SPAWN,
    Inbound.TIMER: Outbound.TIMER,
}
"""The effect that an answer answers."""


class Effects:
    """The world that effects change: agents, mailboxes, state, timers, and the record of the wave."""

    def __init__(
        self,
        population: Population,
        mailboxes: Mailboxes,
        topics: list[list[Group]],
        models: int,
        limits: LimitsSection,
        directory: bytes,
    ) -> None:
        """topics: subscribing groups by topic id. models: how many there are. directory: the DIRECTORY payload."""
        self.population = population
        self.mailboxes = mailboxes
        self.store = Store()
        self.timers = Timers()
        self.births: list[tuple[int, int]] = []
        """Agents that wait for an instance: the first one's id, and how many."""
        self.drops: list[int] = []
        self.record = WaveRecord(0)
        self._topics = topics
        self._models = models
        self._limits = limits
        self._directory = frame(Inbound.DIRECTORY, 0, 0, directory)
        self._lost_logged: set[int] = set()
        self._apply: dict[int, Callable[[Agent, Effect, bytes], None]] = {
            Outbound.SEND: self._send,
            Outbound.PUBLISH: self._publish,
            Outbound.INFER: self._infer,
            Outbound.PUT: self._put,
            Outbound.GET: self._get,
            Outbound.SPAWN: self._spawn,
            Outbound.STOP: self._stop,
            Outbound.TIMER: self._timer,
            Outbound.LOG: self._log,
            Outbound.YIELD: self._yield,
            Outbound.EXIT: self._exit,
            Outbound.WATCH: self._watch,
        }
        self.exit_code: int | None = None
        """What the agent whose turn it is exits with, once it has asked to."""

    def open_wave(self, wave: int) -> WaveRecord:
        """Begin the record of a wave."""
        self.record = WaveRecord(wave)
        self._lost_logged.clear()
        return self.record

    # ---- one agent's effects ----

    def apply(self, agent: Agent, effect: Effect, data: bytes) -> None:
        """Do one effect; data: what its places are in."""
        if effect.end - effect.start > agent.group.limits.message and effect.kind in _SIZED:
            self._refuse(agent, effect, Reason.TOO_LARGE)
        else:
            self._apply[effect.kind](agent, effect, data)

    def _send(self, agent: Agent, effect: Effect, data: bytes) -> None:
        if effect.peer == WORLD:
            self.record.outputs.append(OutputRow(agent.number, effect.tag, data[effect.start : effect.end]))
        elif effect.peer >= len(self.population):
            self._refuse(agent, effect, Reason.NO_SUCH_AGENT)
        elif reason := self._deliver(effect.peer, self._message(agent, effect, data, 0)):
            self._refuse(agent, effect, reason)
        else:
            self.record.messages += 1

    @staticmethod
    def _message(agent: Agent, effect: Effect, data: bytes, flags: int) -> bytes:
        header = FRAME_HEADER.pack(effect.end - effect.start, Inbound.MESSAGE, flags, agent.number, effect.tag)
        return header + data[effect.start : effect.next]

    def _publish(self, agent: Agent, effect: Effect, data: bytes) -> None:
        topic = effect.peer
        if not self._granted(agent, effect, topic, len(self._topics), agent.group.topics):
            return
        message = self._message(agent, effect, data, topic + 1)
        for group in self._topics[topic]:
            for receiver in group.members:
                self._publish_to(receiver, message)

    def _publish_to(self, receiver: int, message: bytes) -> None:
        reason = self._deliver(receiver, message)
        if reason:
            self._lose(self.population.agent(receiver), "a publication", reason)
        else:
            self.record.messages += 1

    def lost_publication(self, agent: int, effect: Effect, data: bytes, receiver: int) -> None:
        """One receiver's mailbox did not take a publication: what its overflow policy says."""
        self._publish_to(receiver, self._message(self.population.agent(agent), effect, data, effect.peer + 1))

    def topic_members(self) -> list[U32Array]:
        """The receivers of each topic, in order of delivery."""
        return [
            np.fromiter((number for group in groups for number in group.members), np.uint32) for groups in self._topics
        ]

    def _infer(self, agent: Agent, effect: Effect, data: bytes) -> None:
        if self._granted(agent, effect, effect.peer, self._models, agent.group.models):
            requests = self.record.requests
            payload = data[effect.start : effect.end]
            requests.append(Request(len(requests), effect.peer, agent.number, agent.life, effect.tag, payload))

    def _put(self, agent: Agent, effect: Effect, data: bytes) -> None:
        at = effect.start + U16.size
        split = at + U16.unpack_from(data, effect.start)[0]
        key, value = data[at:split], data[split : effect.end]
        if not agent.group.may_write(key):
            self._deny(agent, effect, f"put of key {_shown(key)}")
            return
        grown = self.store.size_bytes + self.store.growth(key, value)
        if len(key) > self._limits.state_key or grown > self._limits.state:
            self._refuse(agent, effect, Reason.LIMIT)
            return
        self.store.put(key, value)
        self.record.puts.append(Put(key, value, agent.number))
        payload = data[effect.start : effect.end]
        for watcher, tag in list(self.store.watchers(key)):
            self.answer(self.population.agent(watcher), Inbound.STATE, 0, tag, payload, Flag.WATCHED)

    def _get(self, agent: Agent, effect: Effect, data: bytes) -> None:
        key = data[effect.start : effect.end]
        if not agent.group.may_read(key):
            self._deny(agent, effect, f"get of key {_shown(key)}")
            return
        value = self.store.values.get(key)
        flags = Flag.ABSENT if value is None else 0
        self.answer(agent, Inbound.STATE, 0, effect.tag, value or b"", flags)

    def _watch(self, agent: Agent, effect: Effect, data: bytes) -> None:
        prefix = data[effect.start : effect.end]
        if not agent.group.may_read(prefix):
            self._deny(agent, effect, f"watch of prefix {_shown(prefix)}")
        elif len(prefix) > self._limits.state_key or (
            prefix not in agent.watches and len(agent.watches) >= agent.group.limits.watches
        ):
            self._refuse(agent, effect, Reason.LIMIT)
        elif self.store.watch(prefix, agent.number, effect.tag):
            agent.watches.append(prefix)

    def _spawn(self, agent: Agent, effect: Effect, data: bytes) -> None:
        groups = self.population.groups
        if not self._granted(agent, effect, effect.peer, len(groups), agent.group.spawns):
            return
        if self.population.live >= self._limits.agents or agent.depth >= self._limits.spawn_depth:
            self._refuse(agent, effect, Reason.LIMIT)
            return
        group = groups[effect.peer]
        child = self.bear(group, data[effect.start : effect.end] or group.config, agent, effect.tag)
        row = directory_row(DirectoryKind.AGENT, child.number, 1, child.name)
        self.answer(agent, Inbound.DIRECTORY, 0, effect.tag, row)

    def _stop(self, agent: Agent, effect: Effect, _data: bytes) -> None:
        if not self._may_stop(agent, effect.peer):
            self._deny(agent, effect, f"stop of {effect.peer}, which is not its child")
        elif effect.peer in agent.children:
            self._end_subtree(self.population.agent(effect.peer))
        else:
            self._refuse(agent, effect, Reason.AGENT_ENDED)

    def _timer(self, agent: Agent, effect: Effect, data: bytes) -> None:
        due = self.record.wave + max(1, U64.unpack_from(data, effect.start)[0])
        timers = self.mailboxes.timers
        if timers[agent.number] >= agent.group.limits.timers or due > LAST_WAVE:
            self._refuse(agent, effect, Reason.LIMIT)
            return
        timers[agent.number] += 1
        one = np.array([agent.number, effect.tag], np.uint32)
        self.timers.add(np.array([due], np.uint64), one[:1], one[1:])

    def set_timers(self, timers: TimerArray) -> None:
        """Take over the timers that a commit set, in order. Agents that ended since wait for nothing."""
        if len(timers):
            self.timers.add(timers["waves"] + np.uint64(self.record.wave), timers["agent"], timers["tag"])
            for agent in np.unique(timers["agent"][self.mailboxes.timers[timers["agent"]] == 0]).tolist():
                self.timers.forget(agent)

    def _log(self, agent: Agent, effect: Effect, data: bytes) -> None:
        text = data[effect.start : effect.end].decode(errors="replace")
        self.record.logs.append(LogRow(agent.number, effect.peer, text, False))

    def _yield(self, agent: Agent, _effect: Effect, _data: bytes) -> None:
        self.mailboxes.ready[agent.number] = 1

    def _exit(self, _agent: Agent, effect: Effect, data: bytes) -> None:
        """The agent ends with its turn, wherever it wrote that; the first code counts."""
        if self.exit_code is None:
            self.exit_code = I32.unpack_from(data, effect.start)[0]

    # ---- grants ----

    def denied(self, agent: Agent, effect: Effect, data: bytes) -> bool:
        """Whether an effect lacks its grant: what `limits.denied = "fault"` asks before any effect happens."""
        group, peer = agent.group, effect.peer
        payload = data[effect.start : effect.end]
        if effect.kind == Outbound.PUBLISH:
            return peer < len(self._topics) and peer not in group.topics
        if effect.kind == Outbound.INFER:
            return peer < self._models and peer not in group.models
        if effect.kind == Outbound.SPAWN:
            return peer < len(self.population.groups) and peer not in group.spawns
        if effect.kind == Outbound.PUT:
            return not group.may_write(payload[2 : 2 + U16.unpack_from(payload)[0]])
        if effect.kind == Outbound.STOP:
            return not self._may_stop(agent, peer)
        return effect.kind in (Outbound.GET, Outbound.WATCH) and not group.may_read(payload)

    def _may_stop(self, agent: Agent, peer: int) -> bool:
        """Whether an agent is another's to stop: its child, or one that has ended already."""
        return peer in agent.children or (peer < len(self.population) and self.population.ended(peer) != 0)

    def _granted(self, agent: Agent, effect: Effect, number: int, count: int, granted: frozenset[int]) -> bool:
        if number >= count:
            self._refuse(agent, effect, Reason.NO_SUCH_ID)
        elif number not in granted:
            self._deny(agent, effect, f"{Outbound(effect.kind).name.lower()} to {number}")
        else:
            return True
        return False

    def _deny(self, agent: Agent, effect: Effect, what: str) -> None:
        self.log(agent, LEVEL_WARNING, f"denied: {what}")
        self._refuse(agent, effect, Reason.DENIED)

    def _refuse(self, agent: Agent, effect: Effect, reason: int) -> None:
        """Answer an effect that could not be done. flags: the effect's kind."""
        self.answer(agent, Inbound.UNDELIVERABLE, effect.peer, effect.tag, U32.pack(reason), effect.kind)

    # ---- mail ----

    def _deliver(self, receiver: int, message: bytes) -> int:
        """Put a frame into a mailbox, by the receiver's overflow policy. Answers 0 or the Reason."""
        reason = self.mailboxes.put(receiver, message)
        if reason != Reason.MAILBOX_FULL:
            return reason
        agent = self.population.agent(receiver)
        if agent.group.limits.overflow == "reject":
            return reason
        dropped = self.mailboxes.drop_oldest(receiver, len(message))
        if dropped:
            self.record.lost += dropped
            self._log_loss(agent, "its oldest frames, its mailbox being full")
        return self.mailboxes.put(receiver, message)

    def answer(self, agent: Agent, kind: int, peer: int, tag: int, payload: bytes, flags: int = 0) -> None:
        """Answer an agent. What is too large for its inbox is answered as UNDELIVERABLE instead."""
        reason = self._deliver(agent.number, frame(kind, peer, tag, payload, flags))
        if reason == Reason.TOO_LARGE:
            asked = Outbound.WATCH if kind == Inbound.STATE and flags & Flag.WATCHED else _ASKED_BY.get(kind, 0)
            reason = self._deliver(agent.number, frame(Inbound.UNDELIVERABLE, peer, tag, U32.pack(reason), asked))
        if reason and reason != Reason.AGENT_ENDED:
            self._lose(agent, f"one {Inbound(kind).name.lower()} frame", reason)

    def _lose(self, agent: Agent, what: str, reason: int) -> None:
        self.record.lost += 1
        why = "its inbox being too small" if reason == Reason.TOO_LARGE else "its mailbox being full"
        self._log_loss(agent, f"{what}, {why}")

    def _log_loss(self, agent: Agent, what: str) -> None:
        """Say once a wave that an agent lost mail: a full mailbox must not fill the log as well."""
        if agent.number not in self._lost_logged:
            self._lost_logged.add(agent.number)
            self.log(agent, LEVEL_WARNING, f"lost {what}")

    def log(self, agent: Agent, level: int, text: str) -> None:
        """Log something of an agent that it did not write itself."""
        self.record.logs.append(LogRow(agent.number, level, text, True))

    def bounce(self, receiver: int, message: bytes) -> None:
        """A frame that its receiver's inbox can never hold: back to its sender, or lost."""
        _, kind, flags, peer, tag = FRAME_HEADER.unpack_from(message)
        if kind == Inbound.MESSAGE and not flags and peer < len(self.population):
            payload = U32.pack(Reason.TOO_LARGE)
            sender = self.population.agent(peer)
            self.answer(sender, Inbound.UNDELIVERABLE, receiver, tag, payload, Outbound.SEND)
        else:
            self.record.lost += 1
            lost = f"lost a frame of {len(message)} bytes: its inbox takes {self.mailboxes.room(receiver)}"
            self.log(self.population.agent(receiver), 0, lost)

    # ---- coming and going ----

    def populate(self, group: Group, count: int) -> None:
        """A group's agents at the start of a run."""
        if count:
            first = self._add(group, count, NO_PARENT)
            self._greet(first, count, group.config)

    def bear(self, group: Group, config: bytes, parent: Agent, tag: int) -> Agent:
        """An agent that another one spawns, to be created before the next wave."""
        agent = self.population.agent(self._add(group, 1, parent.number))
        agent.parent, agent.parent_life = parent.number, parent.life
        agent.depth, agent.spawn_tag = parent.depth + 1, tag
        agent.config = config
        parent.children[agent.number] = None
        self._greet(agent.number, 1, config)
        return agent

    def _add(self, group: Group, count: int, parent: int) -> int:
        self.record.births.append(Birth(len(self.population), count, group.name, group.born, parent))
        first = self.population.add(group, count)
        self.mailboxes.add(group.index, count, int(group.limits.inbox) - TURN_HEADER.size)
        if group.subscribes:
            self.mailboxes.members_changed()
        return first

    def _greet(self, first: int, count: int, config: bytes) -> None:
        """The start and the directory come before all mail, and past any bound."""
        self.mailboxes.greet(first, count, frame(Inbound.START, 0, 0, config), self._directory)
        self.births.append((first, count))

    def restart(self, agent: Agent) -> None:
        """A fresh life after a fault: timers, watches and children of the life before are forgotten, mail is kept."""
        agent.life += 1
        agent.restarts += 1
        self._forget_timers(agent)
        self._unwatch(agent)
        agent.children.clear()
        self._greet(agent.number, 1, agent.config)

    def _forget_timers(self, agent: Agent) -> None:
        """Nothing that an earlier life waits for is ever due."""
        timers = self.mailboxes.timers
        if timers[agent.number]:
            timers[agent.number] = 0
            self.timers.forget(agent.number)

    def _unwatch(self, agent: Agent) -> None:
        for prefix in agent.watches:
            self.store.unwatch(prefix, agent.number)
        agent.watches.clear()

    def _end_subtree(self, root: Agent) -> None:
        """Stop an agent and all that it spawned, parents before children."""
        waiting = [root.number]
        while waiting:
            agent = self.population.agent(waiting.pop())
            waiting.extend(reversed(agent.children))
            self.end(agent, EndReason.STOPPED)

    def end(self, agent: Agent, reason: EndReason, code: int = 0) -> None:
        """End an agent and tell its parent. Its children, where it was not stopped, go on without a parent."""
        if agent.ended:
            return
        self._unwatch(agent)
        self.population.remove(agent, reason)
        self.mailboxes.end(agent.number)
        if agent.group.subscribes:
            self.mailboxes.members_changed()
        self._forget_timers(agent)
        self.drops.append(agent.number)
        self.record.endings.append(Ending(agent.number, reason, code))
        if agent.parent == NO_PARENT:
            return
        parent = self.population.agent(agent.parent)
        if not parent.ended and parent.life == agent.parent_life:
            parent.children.pop(agent.number, None)
            self.answer(parent, Inbound.CHILD_ENDED, agent.number, agent.spawn_tag, U32.pack(reason))


def _shown(key: bytes) -> str:
    """A key in a log line, cut: an agent's denied effects must not write more log than it wrote itself."""
    return repr(key) if len(key) <= _SHOWN_BYTES else f"{key[:_SHOWN_BYTES]!r}... of {len(key)} bytes"
