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

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import numpy as np

from wavelock.core.abi import FRAME_HEADER, TURN_HEADER, WORLD, EndReason, Fault, Flag, Inbound, frame, frame_bytes
from wavelock.core.digest import hashed_bytes, wave_digest
from wavelock.core.effects import Effects
from wavelock.core.errors import PluginError, UserError
from wavelock.core.mailboxes import Commit, Mailboxes, Stop, wave_entropy
from wavelock.core.outbox import Effect, MalformedOutboxError, parse_outbox, read_effect
from wavelock.core.population import Agent, Group, Population
from wavelock.core.ports import SchedulerPort
from wavelock.core.profile import LimitsSection
from wavelock.core.shard import Turns, U32Array
from wavelock.core.turns import Outcome, WaveHeader
from wavelock.core.wave import Answered, FaultRow, Input, Request, WaveRecord

Beside = Callable[[Callable[[], bytes]], Callable[[], bytes]]
_NO_WAVE: Final = -1
_NOBODY: Final = np.zeros(0, np.uint32)
BESIDE_BYTES: Final = 3 << 19
"""A digest over so many is taken beside the commit: to wake a thread takes as long as to hash some 300,000."""
RESERVED_FRAMES: Final = 64
RESERVED_BYTES: Final = 64 << 10
"""What a mailbox holds past its limits for the world outside alone, so that no agent can keep it out by a flood."""


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
        mailboxes: Mailboxes,
        topics: list[list[Group]],
        latencies: Sequence[int],
        limits: LimitsSection,
        directory: bytes,
        scheduler: SchedulerPort,
        scheduler_name: str,
        seed: int,
        wave_ns: int,
        header: bytes,
        beside: Beside = lambda task: task,
        hash_threads: int = 1,
    ) -> None:
        """counts: agents of each group at the start. latencies: of each model. header: the first link of the chain.

        beside: begins something that may go on beside the caller, and answers a function that waits for its outcome.
        hash_threads: that a digest takes at most.
        """
        self.population = Population(groups)
        self.mailboxes = mailboxes
        self.header = self.digest = header
        self.wave = _NO_WAVE
        self.effects = Effects(self.population, mailboxes, topics, len(latencies), limits, directory)
        self._latencies = latencies
        self._scheduler = scheduler
        self._scheduler_name = scheduler_name
        self._seed = seed
        self._wave_ns = wave_ns
        self._beside = beside
        self._hash_threads = hash_threads
        self.batches: list[DueBatch] = []
        for subscribers in topics:
            for group in subscribers:
                group.subscribes = True
        mailboxes.open([group.bounds for group in groups], len(topics))
        for group, count in zip(groups, counts, strict=True):
            self.effects.populate(group, count)
        self._first_births = self.effects.record.births
        self._scheduled = 0
        self._bounds = [group.bounds for group in groups]

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
        if inputs_wait or np.count_nonzero(self.mailboxes.ready.view(np.bool_)):
            return self.wave + 1
        dues = [batch.due for batch in self.batches]
        timer = self.effects.timers.next_due()
        return min(dues if timer is None else [*dues, timer], default=None)

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
        if self.population.ended(row.agent) or (agent := self.population.agent(row.agent)).life != row.life:
            return
        flags = Flag.ERROR if row.reason else 0
        payload = row.reason.to_bytes(4, "little") if row.reason else row.payload
        self.effects.answer(agent, Inbound.INFERENCE, row.model, row.tag, payload, flags)

    def _take_timers(self) -> None:
        agents, tags = self.effects.timers.take(self.wave)
        if not len(agents):
            return
        numbers, counts = np.unique(agents, return_counts=True)
        self.mailboxes.timers[numbers] -= counts.astype(np.uint32)
        at = 0
        while (at := self.mailboxes.ring(agents, tags, at)) < len(agents):
            agent = self.population.agent(int(agents[at]))
            self.effects.answer(agent, Inbound.TIMER, 0, int(tags[at]), b"")
            at += 1

    def _take_input(self, row: Input) -> None:
        message = frame(Inbound.MESSAGE, WORLD, row.tag, row.payload)
        if self.mailboxes.put(row.agent, message, RESERVED_FRAMES, RESERVED_BYTES):
            self.effects.record.lost += 1
            self.effects.log(self.population.agent(row.agent), 1, f"lost an outside input of {len(row.payload)} bytes")

    def inbox_room(self, agent: int) -> int:
        """The largest payload that an agent's inbox can ever take, in bytes."""
        return self.mailboxes.room(agent) - FRAME_HEADER.size

    def input_fits(self, agent: int, payload_bytes: int, ahead: int, ahead_bytes: int) -> bool:
        """Whether an outside input can enter now, behind `ahead` others of `ahead_bytes` for the same agent.

        One for an agent that has ended can: it is lost, and the log says so.
        """
        if self.population.ended(agent):
            return True
        bounds = self._bounds[self.population.group_of(agent).index]
        frames, held = self.mailboxes.held(agent)
        return (
            held + ahead_bytes + frame_bytes(payload_bytes) <= bounds.mailbox_bytes + RESERVED_BYTES
            and frames + ahead < bounds.mailbox_frames + RESERVED_FRAMES
        )

    def take_births(self) -> tuple[U32Array, U32Array]:
        """Ids and groups of the agents to be created before this wave's turns."""
        if not self.effects.births:
            return _NOBODY, _NOBODY
        births = [np.arange(first, first + count, dtype=np.uint32) for first, count in self.effects.births]
        self.effects.births.clear()
        ids = self.population.alive(np.concatenate(births))
        return ids, self.population.groups_of(ids)

    def take_drops(self) -> U32Array:
        """Ids of the agents whose instances are needed no more."""
        if not self.effects.drops:
            return _NOBODY
        drops = np.array(self.effects.drops, np.uint32)
        self.effects.drops.clear()
        return drops

    def set_capacities(self, ids: U32Array, capacities: U32Array) -> None:
        """Tell what the inboxes of new agents take, in bytes."""
        self.mailboxes.set_room(ids, capacities - np.uint32(TURN_HEADER.size))

    # ---- plan and inboxes ----

    def plan(self) -> U32Array:
        """This wave's plan: what the scheduler answers, held to its contract. Empty where nobody is ready."""
        self._introduce()
        marks = self.mailboxes.ready.view(np.bool_)
        if np.count_nonzero(marks) == len(marks):  # as in most waves; in a fifth of the time that looking takes
            ready = np.arange(len(marks), dtype=np.uint32)
        else:
            ready = np.flatnonzero(marks).astype(np.uint32)
        if not len(ready):
            return ready
        plan = np.ascontiguousarray(self._scheduler.plan(self.wave, ready), np.uint32)
        if plan.shape != ready.shape or np.count_nonzero(plan != ready):
            self._check_plan(plan, len(ready))
        return plan

    def _introduce(self) -> None:
        """Tell the scheduler of the agents that came into being since the last plan."""
        if self._scheduled < len(self.population):
            self._scheduler.add(self._scheduled, self.population.group_indexes(self._scheduled))
            self._scheduled = len(self.population)

    def _check_plan(self, plan: U32Array, ready_count: int) -> None:
        ready = self.mailboxes.ready
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

    def wave_header(self) -> WaveHeader:
        """What the inboxes of this wave have in common."""
        time_ns = self.wave * self._wave_ns & 0xFFFFFFFFFFFFFFFF
        return WaveHeader(self.wave, time_ns, wave_entropy(self._seed, self.wave))

    # ---- commit ----

    def commit(self, plan: U32Array, outcome: Outcome) -> WaveRecord:
        """Apply a wave's effects in plan order. `seal` closes the record."""
        record, turns = self.effects.record, outcome.turns
        record.plan, record.fuel, record.outbox_bytes = plan, turns.fuel, turns.outbox_bytes
        record.fault_codes, record.fault_details = turns.faults, turns.details
        record.outboxes, record.outbox_hashes = turns.outboxes, turns.outbox_hashes
        for agent, message in outcome.bounced:
            self.effects.bounce(agent, message)
        self._apply_all(record, turns)
        self._queue_requests(record)
        return record

    def seal(self, record: WaveRecord) -> None:
        """Take a wave's digest: the next link of the chain."""
        self.digest = record.digest = record.digest or self._digest_of(record)

    def _digest_of(self, record: WaveRecord) -> bytes:
        return wave_digest(self.digest, record, self._hash_threads)

    def _apply_all(self, record: WaveRecord, turns: Turns) -> None:
        commit = self.mailboxes.commit(record.plan, turns, self.wave)
        digest: Callable[[], bytes] = bytes
        if commit.settled and commit.aside:
            record.digest = self._digest_of(record)  # in the meantime
        elif commit.settled and hashed_bytes(record) >= BESIDE_BYTES:
            digest = self._beside(partial(self._digest_of, record))
        while (stop := commit.advance()) is not Stop.DONE:
            if stop is Stop.STALE:
                self.mailboxes.relist(self.effects.topic_members())
            else:
                self._serve(stop, commit, record)
        record.digest = record.digest or digest()
        record.messages += commit.messages
        self.effects.set_timers(commit.timers)

    def _serve(self, stop: Stop, commit: Commit, record: WaveRecord) -> None:
        """Do what a commit leaves to the kernel."""
        number = int(record.plan[commit.turn])
        if stop is Stop.EFFECT:
            data = commit.frame
            self.effects.apply(self.population.agent(number), read_effect(data), data)
            if self.effects.exit_code is not None:
                commit.exit()
        elif stop is Stop.LOST:
            data = commit.frame
            self.effects.lost_publication(number, read_effect(data), data, commit.receiver)
        elif stop is Stop.EXITED:
            code, self.effects.exit_code = self.effects.exit_code or 0, None
            self.effects.end(self.population.agent(number), EndReason.EXITED, code)
        else:
            self._serve_turn(stop, commit, record, self.population.agent(number))

    def _serve_turn(self, stop: Stop, commit: Commit, record: WaveRecord, agent: Agent) -> None:
        """What concerns a whole turn: a fault, or a question whether it is one."""
        at = commit.turn
        if stop is Stop.FAULT:
            fault = int(record.fault_codes[at])
            self._fault(agent, Fault(fault), _detail(fault, int(record.fault_details[at])))
            return
        data = commit.outbox
        try:
            effects = [Effect._make(effect) for effect in parse_outbox(data)]
        except MalformedOutboxError as error:
            record.fault_codes[at], record.fault_details[at] = Fault.MALFORMED_OUTBOX, error.offset
            self._fault(agent, Fault.MALFORMED_OUTBOX, f"offset {error.offset}: {error.what}")
            return
        denied = next((at for at, effect in enumerate(effects) if self.effects.denied(agent, effect, data)), None)
        if denied is not None:
            commit.skip()
            record.fault_codes[at], record.fault_details[at] = Fault.DENIED, denied
            self._fault(agent, Fault.DENIED, f"effect {denied} has no grant")

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
