"""The kernel of a run: intake, plan, inboxes, commit, digest. Sans-IO: values in, values out.

Rules:
- Outside inputs, inference answers and timers enter at the intake before a wave, in one fixed order; nowhere else.
- Agents see only what was committed before the wave; effects meet in plan order.
- The order of a mailbox: the last commit's messages and answers, then due inference answers in request order, then
  due timers by agent, then outside inputs as they were accepted.
- A wave's number is one more than the last one's, or the next due one where nothing is ready before it.
- What happened is in the wave's record, and the digest is taken from the record alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from wavelock.core.abi import FRAME_HEADER, TURN_HEADER, WORLD, EndReason, Fault, Flag, Inbound, frame, frame_bytes
from wavelock.core.digest import wave_digest
from wavelock.core.effects import Effects
from wavelock.core.errors import PluginError, UserError
from wavelock.core.outbox import Effect, EffectTuple, MalformedOutboxError, parse_outbox
from wavelock.core.population import Agent, Group, Population
from wavelock.core.ports import SchedulerPort
from wavelock.core.profile import LimitsSection
from wavelock.core.shard import Turns, U32Array
from wavelock.core.wave import Answered, FaultRow, Input, Request, WaveRecord

_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_NO_WAVE: Final = -1
RESERVED_FRAMES: Final = 64
RESERVED_BYTES: Final = 64 << 10
"""What a mailbox holds past its limits for the world outside alone, so that no agent can keep it out by a flood."""


def _mix(value: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """splitmix64's finaliser (Steele, Lea, Flood, 2014), element by element."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: npt.NDArray[np.uint64] = value ^ (value >> np.uint64(31))
    return mixed


def turn_entropy(seed: int, wave: int, agents: U32Array) -> npt.NDArray[np.uint64]:
    """The entropy of each agent's turn: three rounds of splitmix64 over seed, wave and agent id. Shape (n,), u64."""
    base = _mix(np.array([seed], np.uint64) + _GOLDEN)
    base = _mix((base ^ np.uint64(wave)) + _GOLDEN)
    return _mix((base + agents.astype(np.uint64)) * _GOLDEN + _GOLDEN)


class DueBatch:
    """The requests of one wave for one model: their answers enter before wave `due`."""

    __slots__ = ("due", "model", "requests", "wave")

    def __init__(self, due: int, wave: int, model: int, requests: list[Request]) -> None:
        self.due = due
        self.wave = wave
        self.model = model
        self.requests = requests


class Kernel:
    """A run's state between waves, and the steps of a wave in the order: intake, plan, pack, commit."""

    def __init__(
        self,
        *,
        groups: Sequence[Group],
        counts: Sequence[int],
        topics: list[list[Group]],
        latencies: Sequence[int],
        limits: LimitsSection,
        directory: bytes,
        scheduler: SchedulerPort,
        scheduler_name: str,
        seed: int,
        wave_ns: int,
        header: bytes,
    ) -> None:
        """counts: agents of each group at the start. latencies: of each model. header: the first link of the chain."""
        self.population = Population(groups)
        self.header = self.digest = header
        self.wave = _NO_WAVE
        self.effects = Effects(self.population, topics, len(latencies), limits, directory)
        self._latencies = latencies
        self._scheduler = scheduler
        self._scheduler_name = scheduler_name
        self._seed = seed
        self._wave_ns = wave_ns
        self.batches: list[DueBatch] = []
        self._bounced: list[tuple[Agent, bytes]] = []
        for group, count in zip(groups, counts, strict=True):
            for _ in range(count):
                self.effects.bear(group, group.config)
        self._first_births = self.effects.record.births
        self._scheduled = 0

    @property
    def store(self) -> dict[bytes, bytes]:
        """The state that agents share. Not to be changed."""
        return self.effects.store.values

    # ---- captured and restored, see `capture` ----

    def capture_scheduler(self) -> bytes:
        """The scheduler's own state."""
        self._introduce()
        return self._scheduler.capture()

    def restore_chain(self, wave: int, digest: bytes, scheduler: bytes) -> None:
        """Go on behind a wave. Raises UserError where the scheduler cannot take over its state."""
        self.wave, self.digest = wave, digest
        self._first_births = []
        self._introduce()
        try:
            self._scheduler.restore(scheduler)
        except ValueError as error:
            raise UserError(f'scheduler "{self._scheduler_name}": {error}') from None

    # ---- between waves ----

    def next_wave(self, inputs_wait: bool) -> int | None:
        """The number of the next wave, or None where nothing is ready and nothing is due."""
        if inputs_wait or self.population.ready.find(1) >= 0:
            return self.wave + 1
        self.effects.drop_dead_timers()
        dues = [batch.due for batch in self.batches] + [timer[0] for timer in self.effects.timers[:1]]
        return min(dues) if dues else None

    def open_wave(self, wave: int) -> WaveRecord:
        """Begin a wave."""
        self.wave = wave
        record = self.effects.open_wave(wave)
        record.births, self._first_births = self._first_births, []
        return record

    def due_batches(self) -> list[DueBatch]:
        """The batches whose answers enter before this wave; they are due no more."""
        due = [batch for batch in self.batches if batch.due <= self.wave]
        self.batches = [batch for batch in self.batches if batch.due > self.wave]
        return due

    def intake(self, answers: list[Answered], inputs: list[Input]) -> None:
        """Let in what is due and what comes from outside, in the mailbox's order. answers: in any order."""
        record = self.effects.record
        record.answers = sorted(answers, key=lambda row: (row.request_wave, row.position))
        record.inputs = inputs
        for answer in record.answers:
            self._take_answer(answer)
        self._take_timers()
        for row in inputs:
            self._take_input(row)

    def _take_answer(self, row: Answered) -> None:
        agent = self.population.agents[row.agent]
        if agent.ended or agent.life != row.life:
            return
        flags = Flag.ERROR if row.reason else 0
        payload = row.reason.to_bytes(4, "little") if row.reason else row.payload
        self.effects.answer(agent, Inbound.INFERENCE, row.model, row.tag, payload, flags)

    def _take_timers(self) -> None:
        timers = self.effects.timers
        due = []
        while timers and timers[0][0] <= self.wave:
            due.append(self.effects.pop_timer())
        for _, number, _, life, tag in sorted(due, key=lambda timer: timer[1:3]):
            agent = self.population.agents[number]
            if not agent.ended and agent.life == life:
                agent.timers -= 1
                self.effects.answer(agent, Inbound.TIMER, 0, tag, b"")

    def _take_input(self, row: Input) -> None:
        agent = self.population.agents[row.agent]
        message = frame(Inbound.MESSAGE, WORLD, row.tag, row.payload)
        reason = self.population.put_mail(agent, message, RESERVED_FRAMES, RESERVED_BYTES)
        if reason:
            self.effects.record.lost += 1
            self.effects.log(agent, 1, f"lost an outside input of {len(row.payload)} bytes")

    def inbox_room(self, agent: int) -> int:
        """The largest payload that an agent's inbox can ever take, in bytes."""
        return self.population.agents[agent].room - FRAME_HEADER.size

    def input_fits(self, agent: int, payload_bytes: int, ahead: int, ahead_bytes: int) -> bool:
        """Whether an outside input can enter now, behind `ahead` others of `ahead_bytes` for the same agent.

        One for an agent that has ended can: it is lost, and the log says so.
        """
        receiver = self.population.agents[agent]
        if receiver.ended:
            return True
        group = receiver.group
        return (
            receiver.mail_bytes + ahead_bytes + frame_bytes(payload_bytes) <= group.mailbox_bytes + RESERVED_BYTES
            and len(receiver.mail) + ahead < group.mailbox_frames + RESERVED_FRAMES
        )

    def take_births(self) -> tuple[U32Array, U32Array]:
        """Ids and groups of the agents to be created before this wave's turns."""
        ids = [number for number in self.effects.births if not self.population.agents[number].ended]
        self.effects.births.clear()
        groups = [self.population.agents[number].group.index for number in ids]
        return np.array(ids, np.uint32), np.array(groups, np.uint32)

    def take_drops(self) -> U32Array:
        """Ids of the agents whose instances are needed no more."""
        drops = np.array(self.effects.drops, np.uint32)
        self.effects.drops.clear()
        return drops

    def set_capacities(self, ids: U32Array, capacities: U32Array) -> None:
        """Tell what the inboxes of new agents take, in bytes."""
        for number, capacity in zip(ids.tolist(), capacities.tolist(), strict=True):
            self.population.agents[number].room = capacity - TURN_HEADER.size

    # ---- plan and inboxes ----

    def plan(self) -> U32Array:
        """This wave's plan: what the scheduler answers, held to its contract. Empty where nobody is ready."""
        self._introduce()
        ready = self.population.ready_ids()
        if not len(ready):
            return ready
        plan = np.ascontiguousarray(self._scheduler.plan(self.wave, ready), np.uint32)
        self._check_plan(plan, len(ready))
        return plan

    def _introduce(self) -> None:
        """Tell the scheduler of the agents that came into being since the last plan."""
        agents = self.population.agents
        if self._scheduled < len(agents):
            groups = np.array([agent.group.index for agent in agents[self._scheduled :]], np.uint32)
            self._scheduler.add(self._scheduled, groups)
            self._scheduled = len(agents)

    def _check_plan(self, plan: U32Array, ready_count: int) -> None:
        ready = np.frombuffer(self.population.ready, np.uint8)
        fits = len(plan) > 0 and int(plan.max()) < len(ready) and bool(ready[plan].all())
        if fits:
            left = ready.copy()
            left[plan] = 0
            fits = int(np.count_nonzero(left)) == ready_count - len(plan)
        if not fits:
            raise PluginError(
                f'scheduler "{self._scheduler_name}", wave {self.wave}: its plan is not a non-empty subset of the '
                f"{ready_count} ready agents, each once: {plan[:8].tolist()}"
            )

    def pack(self, plan: U32Array) -> tuple[U32Array, list[bytes]]:
        """Every planned agent's inbox: lengths in bytes, and the inboxes in plan order."""
        record = self.effects.record
        record.plan = plan
        wave = self.wave
        time_ns = wave * self._wave_ns & 0xFFFFFFFFFFFFFFFF
        entropy = turn_entropy(self._seed, self.wave, plan).tolist()
        agents, ready, pack = self.population.agents, self.population.ready, TURN_HEADER.pack
        inboxes = []
        for number, chance in zip(plan.tolist(), entropy, strict=True):
            agent = agents[number]
            ready[number] = 0
            if agent.mail_bytes <= agent.room:
                mail = agent.mail
                inboxes.append(pack(wave, time_ns, chance, number, len(mail)) + b"".join(mail))
                mail.clear()
                agent.mail_bytes = 0
            else:
                frames = self._take_what_fits(agent)
                inboxes.append(pack(wave, time_ns, chance, number, len(frames)) + b"".join(frames))
        return np.fromiter(map(len, inboxes), np.uint32, len(inboxes)), inboxes

    def _take_what_fits(self, agent: Agent) -> list[bytes]:
        """The frames at the front that fit; the rest waits, in order. A frame that never fits is bounced."""
        frames: list[bytes] = []
        left = agent.room
        while agent.mail and (len(agent.mail[0]) <= left or len(agent.mail[0]) > agent.room):
            message = agent.mail.popleft()
            agent.mail_bytes -= len(message)
            if len(message) > agent.room:
                self._bounced.append((agent, message))
            else:
                frames.append(message)
                left -= len(message)
        if agent.mail:
            self.population.ready[agent.number] = 1
        return frames

    # ---- commit ----

    def commit(self, turns: Turns) -> WaveRecord:
        """Apply a wave's effects in plan order and close its record."""
        record = self.effects.record
        record.fuel, record.outbox_bytes = turns.fuel.copy(), turns.outbox_bytes.copy()
        record.fault_codes, record.fault_details = turns.faults.copy(), turns.details.copy()
        record.outboxes = bytes(turns.outboxes[: int(turns.outbox_bytes.sum())])
        for agent, message in self._bounced:
            self.effects.bounce(agent, message)
        self._bounced.clear()
        self._apply_all(record)
        self._queue_requests(record)
        self.digest = record.digest = wave_digest(self.digest, record)
        return record

    def _apply_all(self, record: WaveRecord) -> None:
        at = 0
        rows = zip(record.plan.tolist(), record.fault_codes.tolist(), record.outbox_bytes.tolist(), strict=True)
        for index, (number, fault, length) in enumerate(rows):
            agent = self.population.agents[number]
            if fault:
                self._fault(agent, Fault(fault), _detail(fault, int(record.fault_details[index])))
            elif length:
                self._apply_turn(agent, record.outboxes[at : at + length], record, index)
            at += length

    def _apply_turn(self, agent: Agent, data: bytes, record: WaveRecord, index: int) -> None:
        try:
            effects = parse_outbox(data)
        except MalformedOutboxError as error:
            record.fault_codes[index], record.fault_details[index] = Fault.MALFORMED_OUTBOX, error.offset
            self._fault(agent, Fault.MALFORMED_OUTBOX, f"offset {error.offset}: {error.what}")
            return
        if agent.group.limits.denied == "fault" and (denied := self._first_denied(agent, effects, data)) is not None:
            record.fault_codes[index], record.fault_details[index] = Fault.DENIED, denied
            self._fault(agent, Fault.DENIED, f"effect {denied} has no grant")
        elif not agent.ended:
            self.effects.apply(agent, effects, data)

    def _first_denied(self, agent: Agent, effects: list[EffectTuple], data: bytes) -> int | None:
        return next(
            (at for at, effect in enumerate(effects) if self.effects.denied(agent, Effect._make(effect), data)), None
        )

    def _fault(self, agent: Agent, fault: Fault, detail: str) -> None:
        """End a turn: its effects are dropped, its instance is not used again; the restart policy follows."""
        self.effects.record.faults.append(FaultRow(agent.number, fault, detail))
        if fault == Fault.DENIED:
            self.effects.log(agent, 1, f"denied: {detail}")
        if agent.ended:
            return
        if agent.group.restart_fresh and agent.restarts < agent.group.limits.restarts:
            self.effects.restart(agent)
        else:
            self.effects.end(agent, EndReason.FAULTED)

    def _queue_requests(self, record: WaveRecord) -> None:
        by_model: dict[int, list[Request]] = {}
        for request in record.requests:
            by_model.setdefault(request.model, []).append(request)
        for model in sorted(by_model):
            due = self.wave + self._latencies[model]
            self.batches.append(DueBatch(due, self.wave, model, by_model[model]))

    def new_batches(self) -> list[DueBatch]:
        """The batches that the last commit queued."""
        return [batch for batch in self.batches if batch.wave == self.wave]


def _detail(fault: int, detail: int) -> str:
    if fault == Fault.AGENT_CODE:
        return f"code {detail}"
    if fault == Fault.MALFORMED_OUTBOX:
        return f"an outbox of {detail} bytes, past its buffer or limit"
    return ""
