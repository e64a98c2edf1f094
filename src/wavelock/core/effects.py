"""What each effect does. Called in plan order and, for one agent, in the order it wrote them.

Rules:
- An effect that cannot be done is answered to the agent that asked, with the reason; it never stops the run.
- Answers obey the same mailbox bounds as messages; one that does not fit is lost, and the log says so.
- Nothing here depends on when or where a turn ran.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Final

from wavelock.core.abi import (
    FRAME_HEADER,
    I32,
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
from wavelock.core.outbox import Effect, EffectTuple
from wavelock.core.population import NO_PARENT, Agent, Group, Population
from wavelock.core.profile import LimitsSection
from wavelock.core.store import Store
from wavelock.core.wave import Birth, Ending, LogRow, OutputRow, Put, Request, WaveRecord

LEVEL_WARNING: Final = 1
_SEND: Final = int(Outbound.SEND)
_MESSAGE: Final = int(Inbound.MESSAGE)
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
        self, population: Population, topics: list[list[Group]], models: int, limits: LimitsSection, directory: bytes
    ) -> None:
        """topics: subscribing groups by topic id. models: how many there are. directory: the DIRECTORY payload."""
        self.population = population
        self.store = Store()
        self.timers: list[tuple[int, int, int, int, int]] = []
        self.births: list[int] = []
        self.drops: list[int] = []
        self.record = WaveRecord(0)
        self._topics = topics
        self._models = models
        self._limits = limits
        self._directory = frame(Inbound.DIRECTORY, 0, 0, directory)
        self.timer_number = 0
        self._dead_timers = 0
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
        self._exit_codes: list[int] = []

    def open_wave(self, wave: int) -> WaveRecord:
        """Begin the record of a wave."""
        self.record = WaveRecord(wave)
        self._lost_logged.clear()
        return self.record

    # ---- one agent's effects ----

    def apply(self, agent: Agent, effects: list[EffectTuple], data: bytes) -> None:
        """Do all effects of a turn. An exit comes last, wherever it was written."""
        self._exit_codes.clear()
        limit, record = agent.group.limits.message, self.record
        agents, number, pack = self.population.agents, agent.number, FRAME_HEADER.pack
        put_mail = self.population.put_mail
        for row in effects:
            kind, peer, tag, start, end, following = row
            if kind == _SEND and peer < len(agents) and end - start <= limit:
                header = pack(end - start, _MESSAGE, 0, number, tag)
                message = header + data[start:following]
                reason = put_mail(agents[peer], message)
                if not reason or not (reason := self._overflow(agents[peer], message, reason)):
                    record.messages += 1
                else:
                    self._refuse(agent, Effect._make(row), reason)
            elif end - start > limit and kind in _SIZED:
                self._refuse(agent, Effect._make(row), Reason.TOO_LARGE)
            else:
                self._apply[kind](agent, Effect._make(row), data)
        if self._exit_codes:
            self.end(agent, EndReason.EXITED, self._exit_codes[0])

    def _send(self, agent: Agent, effect: Effect, data: bytes) -> None:
        """A send that is not to an agent; `apply` does the others itself, since it does them all the time."""
        if effect.peer == WORLD:
            self.record.outputs.append(OutputRow(agent.number, effect.tag, data[effect.start : effect.end]))
        else:
            self._refuse(agent, effect, Reason.NO_SUCH_AGENT)

    def _publish(self, agent: Agent, effect: Effect, data: bytes) -> None:
        topic = effect.peer
        if not self._granted(agent, effect, topic, len(self._topics), agent.group.topics):
            return
        length = effect.end - effect.start
        header = FRAME_HEADER.pack(length, Inbound.MESSAGE, topic + 1, agent.number, effect.tag)
        message = header + data[effect.start : effect.next]
        for group in self._topics[topic]:
            for receiver in group.members.values():
                reason = self._deliver(receiver, message)
                if reason:
                    self._lose(receiver, "a publication", reason)
                else:
                    self.record.messages += 1

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
            self.answer(self.population.agents[watcher], Inbound.STATE, 0, tag, payload, Flag.WATCHED)

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
            self._end_subtree(self.population.agents[effect.peer])
        else:
            self._refuse(agent, effect, Reason.AGENT_ENDED)

    def _timer(self, agent: Agent, effect: Effect, data: bytes) -> None:
        due = self.record.wave + max(1, U64.unpack_from(data, effect.start)[0])
        if agent.timers >= agent.group.limits.timers or due > LAST_WAVE:
            self._refuse(agent, effect, Reason.LIMIT)
            return
        agent.timers += 1
        self.timer_number += 1
        heapq.heappush(self.timers, (due, agent.number, self.timer_number, agent.life, effect.tag))

    def _log(self, agent: Agent, effect: Effect, data: bytes) -> None:
        text = data[effect.start : effect.end].decode(errors="replace")
        self.record.logs.append(LogRow(agent.number, effect.peer, text, False))

    def _yield(self, agent: Agent, _effect: Effect, _data: bytes) -> None:
        self.population.ready[agent.number] = 1

    def _exit(self, _agent: Agent, effect: Effect, data: bytes) -> None:
        self._exit_codes.append(I32.unpack_from(data, effect.start)[0])

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
        agents = self.population.agents
        return peer in agent.children or (peer < len(agents) and agents[peer].ended != 0)

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

    def _deliver(self, receiver: Agent, message: bytes) -> int:
        """Put a frame into a mailbox, by the receiver's overflow policy. Answers 0 or the Reason."""
        reason = self.population.put_mail(receiver, message)
        return self._overflow(receiver, message, reason) if reason else 0

    def _overflow(self, receiver: Agent, message: bytes, reason: int) -> int:
        """A frame that a mailbox did not take: once more behind dropped ones, where the receiver's policy says so."""
        if reason != Reason.MAILBOX_FULL or receiver.group.limits.overflow == "reject":
            return reason
        dropped = self.population.drop_oldest(receiver, len(message))
        if dropped:
            self.record.lost += dropped
            self._log_loss(receiver, "its oldest frames, its mailbox being full")
        return self.population.put_mail(receiver, message)

    def answer(self, agent: Agent, kind: int, peer: int, tag: int, payload: bytes, flags: int = 0) -> None:
        """Answer an agent. What is too large for its inbox is answered as UNDELIVERABLE instead."""
        reason = self._deliver(agent, frame(kind, peer, tag, payload, flags))
        if reason == Reason.TOO_LARGE:
            asked = Outbound.WATCH if kind == Inbound.STATE and flags & Flag.WATCHED else _ASKED_BY.get(kind, 0)
            reason = self._deliver(agent, frame(Inbound.UNDELIVERABLE, peer, tag, U32.pack(reason), asked))
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

    def bounce(self, receiver: Agent, message: bytes) -> None:
        """A frame that its receiver's inbox can never hold: back to its sender, or lost."""
        _, kind, flags, peer, tag = FRAME_HEADER.unpack_from(message)
        if kind == Inbound.MESSAGE and not flags and peer < len(self.population.agents):
            payload = U32.pack(Reason.TOO_LARGE)
            self.answer(
                self.population.agents[peer], Inbound.UNDELIVERABLE, receiver.number, tag, payload, Outbound.SEND
            )
        else:
            self.record.lost += 1
            self.log(receiver, 0, f"lost a frame of {len(message)} bytes: its inbox takes {receiver.room}")

    # ---- coming and going ----

    def bear(self, group: Group, config: bytes, parent: Agent | None = None, tag: int = 0) -> Agent:
        """A new agent, to be created before the next wave, with its start and the directory in its mailbox."""
        agent = self.population.add(group)
        if parent is not None:
            agent.parent, agent.parent_life = parent.number, parent.life
            agent.depth, agent.spawn_tag = parent.depth + 1, tag
            parent.children[agent.number] = None
        agent.config = config
        self._greet(agent)
        self.record.births.append(Birth(agent.number, agent.name, group.name, agent.parent))
        return agent

    def _greet(self, agent: Agent) -> None:
        greetings = (frame(Inbound.START, 0, 0, agent.config), self._directory)
        agent.mail.extendleft(reversed(greetings))
        agent.mail_bytes += sum(map(len, greetings))
        self.population.ready[agent.number] = 1
        self.births.append(agent.number)

    def restart(self, agent: Agent) -> None:
        """A fresh life after a fault: timers, watches and children of the life before are forgotten, mail is kept."""
        agent.life += 1
        agent.restarts += 1
        self._forget_timers(agent)
        self._unwatch(agent)
        agent.children.clear()
        self._greet(agent)

    def restore_timers(self, timers: list[tuple[int, int, int, int, int]], number: int) -> None:
        """Take over captured timers; those of lives that are over count as such."""
        self.timers[:] = timers
        heapq.heapify(self.timers)
        self.timer_number = number
        self._dead_timers = sum(map(self._is_dead, timers))

    def _forget_timers(self, agent: Agent) -> None:
        """Timers of a life that is over are never due. They leave the heap once they are more than half of it."""
        self._dead_timers += agent.timers
        agent.timers = 0
        if 2 * self._dead_timers > len(self.timers):
            self.timers[:] = [timer for timer in self.timers if not self._is_dead(timer)]
            heapq.heapify(self.timers)
            self._dead_timers = 0

    def pop_timer(self) -> tuple[int, int, int, int, int]:
        """Take the timer that is due first off the heap."""
        timer = heapq.heappop(self.timers)
        if self._is_dead(timer):
            self._dead_timers -= 1
        return timer

    def drop_dead_timers(self) -> None:
        """Take timers of lives that are over off the heap's top, so that no run goes on for them."""
        while self.timers and self._is_dead(self.timers[0]):
            self.pop_timer()

    def _is_dead(self, timer: tuple[int, int, int, int, int]) -> bool:
        agent = self.population.agents[timer[1]]
        return agent.ended != 0 or agent.life != timer[3]

    def _unwatch(self, agent: Agent) -> None:
        for prefix in agent.watches:
            self.store.unwatch(prefix, agent.number)
        agent.watches.clear()

    def _end_subtree(self, root: Agent) -> None:
        """Stop an agent and all that it spawned, parents before children."""
        waiting = [root.number]
        while waiting:
            agent = self.population.agents[waiting.pop()]
            waiting.extend(reversed(agent.children))
            self.end(agent, EndReason.STOPPED)

    def end(self, agent: Agent, reason: EndReason, code: int = 0) -> None:
        """End an agent and tell its parent. Its children, where it was not stopped, go on without a parent."""
        if agent.ended:
            return
        self._unwatch(agent)
        self.population.remove(agent, reason)
        self._forget_timers(agent)
        self.drops.append(agent.number)
        self.record.endings.append(Ending(agent.number, reason, code))
        if agent.parent == NO_PARENT:
            return
        parent = self.population.agents[agent.parent]
        if not parent.ended and parent.life == agent.parent_life:
            parent.children.pop(agent.number, None)
            self.answer(parent, Inbound.CHILD_ENDED, agent.number, agent.spawn_tag, U32.pack(reason))


def _shown(key: bytes) -> str:
    """A key in a log line, cut: an agent's denied effects must not write more log than it wrote itself."""
    return repr(key) if len(key) <= _SHOWN_BYTES else f"{key[:_SHOWN_BYTES]!r}... of {len(key)} bytes"
