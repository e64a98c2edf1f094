"""The runtime: drives the kernel wave by wave, with workers, models, inputs and a journal around it.

Rules:
- One thread calls `step`; only `post` and `stop` may be called from others.
- A wave is journalled before observers are told of it.
- An environment failure ends the run with the file at the last committed wave; the run never goes on with other bits.
- Everything that was opened is closed, once, whatever happened.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

import numpy as np

from wavelock.core.abi import ALIGNMENT, FRAME_HEADER, Fault
from wavelock.core.capture import RunState, capture_kernel, decode, encode, instances_of, restore_kernel
from wavelock.core.errors import UserError, WavelockError
from wavelock.core.events import AgentFault, LogLine, Output, RunEnded, RunStarted, WaveCommitted
from wavelock.core.inputs import LiveFeed
from wavelock.core.kernel import DueBatch, Kernel
from wavelock.core.phases import PhaseTimes
from wavelock.core.ports import FeedPort, InferencePort, JournalPort
from wavelock.core.shard import Turns
from wavelock.core.shards import ShardSet
from wavelock.core.turns import Outcome, TurnsPort
from wavelock.core.wave import Answered, WaveRecord


class Closable(Protocol):
    """Something to be closed with the run."""

    def close(self) -> None:
        """Safe to call twice."""


@dataclass
class Parts:
    """What assembly hands to a runtime. closables: closed in this order. journal: None where nothing is kept."""

    started: RunStarted
    kernel: Kernel
    shards: ShardSet
    turns: TurnsPort
    feed: FeedPort
    inference: InferencePort
    journal: JournalPort | None
    closables: list[Closable]
    tell: Callable[..., None]
    outputs_kept: int
    first_agents: dict[str, tuple[int, int]]


OUTPUT_BYTES = 64 << 20
"""What is kept for `outputs()` at most, payloads together; everything is in the run file."""
NO_TURNS = Outcome(
    Turns(np.zeros(0, np.uint64), np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.uint32), ()), []
)


class RunLoop:
    """A run over assembled parts. `wavelock.Runtime` is the public face of it."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._kernel = parts.kernel
        self.phases = PhaseTimes()
        self._outputs: deque[Output] = deque(maxlen=parts.outputs_kept)
        self._output_bytes = 0
        self._stepping = threading.Lock()
        self._stepper = 0
        self._faults: deque[AgentFault] = deque(maxlen=parts.outputs_kept)
        self._waves = self._turns = self._messages = self._fuel = self._fault_count = 0
        self._ended = ""
        self._stopping = False
        self._closed = False
        try:
            parts.tell("wavelock_run_started", run=parts.started)
        except BaseException:  # an interrupt: observers' own errors do not come this far
            self.close()
            raise

    # ---- running ----

    def step(self) -> WaveCommitted | None:
        """Run one wave. None where there is none to run: the run is over, or quiet until something is posted.

        Raises EnvironmentFailure, and UserError for what only shows while running (an input record too large).
        """
        with self._exclusively():
            return self._step_or_fail()

    @contextlib.contextmanager
    def _exclusively(self) -> Iterator[None]:
        """One thread at a time works on the run. Raises UserError for a second one, and for a run that is over."""
        if not self._stepping.acquire(blocking=False):
            raise UserError("a wave of this run is in progress already: one thread steps, and no observer does")
        try:
            self._stepper = threading.get_ident()
            if self._closed or self._ended == "failed":
                raise UserError(f"this run {'is closed' if self._closed else 'has failed'}; open a new Runtime")
            yield
        finally:
            self._stepper = 0
            self._stepping.release()

    def _step_or_fail(self) -> WaveCommitted | None:
        try:
            return self._step()
        except BaseException:
            self._ended = "failed"
            raise

    def _step(self) -> WaveCommitted | None:
        self.phases.begin()
        wave = self._parts.feed.next_wave(self._kernel.next_wave(self._parts.feed.waiting))
        limit = self._parts.started.waves
        if self._stopping:
            self._ended = "stopped"
        elif not self._kernel.population.live:
            self._ended = "exited"
        elif wave is None:
            self._ended = "quiet"
        elif limit is not None and wave >= limit:
            self._ended = "waves"
        else:
            self._ended = ""
            return self._run_wave(wave)
        return None

    def _run_wave(self, wave: int) -> WaveCommitted:
        kernel, parts, ended = self._kernel, self._parts, self.phases.ended
        kernel.open_wave(wave)
        self._create_and_drop()
        ended("create")
        kernel.intake(self._collect(), parts.feed.take(wave))
        ended("intake")
        plan = kernel.plan()
        ended("plan")
        outcome = parts.turns.take(plan, kernel.wave_header()) if len(plan) else NO_TURNS
        ended("turns")
        record = kernel.commit(plan, outcome)
        ended("commit")
        kernel.seal(record)
        ended("digest")
        for batch in kernel.new_batches():
            parts.inference.submit(batch.wave, batch.model, [request.payload for request in batch.requests])
        ended("models")
        if parts.journal is not None:
            parts.journal.write(record)
        ended("journal")
        committed = self._account(record)
        ended("observe")
        return committed

    def _create_and_drop(self) -> None:
        drops = self._kernel.take_drops()
        if len(drops):
            self._parts.shards.drop(drops)
        ids, groups = self._kernel.take_births()
        if len(ids):
            with self.phases.making(len(ids)):
                self._kernel.set_capacities(ids, self._parts.shards.create(ids, groups))

    def _collect(self) -> list[Answered]:
        return [answer for batch in self._kernel.due_batches() for answer in self._collect_batch(batch)]

    def _collect_batch(self, batch: DueBatch) -> list[Answered]:
        answers = self._parts.inference.collect(batch.wave, batch.model)
        return [
            Answered(
                batch.wave,
                request.position,
                batch.model,
                request.agent,
                request.life,
                request.tag,
                answer.reason,
                answer.payload,
            )
            for request, answer in zip(batch.requests, answers, strict=True)
        ]

    def _account(self, record: WaveRecord) -> WaveCommitted:
        committed = self._describe(record)
        self._waves += 1
        self._turns += committed.turns
        self._messages += committed.messages
        self._fuel += committed.fuel
        self._fault_count += len(committed.faults)
        self._keep(committed.outputs)
        self._faults.extend(committed.faults)
        for fault in committed.faults:
            self._parts.tell("wavelock_agent_faulted", fault=fault)
        self._parts.tell("wavelock_wave_committed", wave=committed)
        return committed

    def _keep(self, outputs: tuple[Output, ...]) -> None:
        """Keep outputs for `outputs()`, the oldest going first where they are too many or too large."""
        for output in outputs:
            if len(self._outputs) == self._outputs.maxlen:
                self._output_bytes -= len(self._outputs[0].payload)
            self._outputs.append(output)
            self._output_bytes += len(output.payload)
        while self._output_bytes > OUTPUT_BYTES:
            self._output_bytes -= len(self._outputs.popleft().payload)

    def _describe(self, record: WaveRecord) -> WaveCommitted:
        name, wave = self._kernel.population.name, record.wave
        return WaveCommitted(
            wave=wave,
            digest=record.digest.hex(),
            turns=len(record.plan),
            messages=record.messages,
            fuel=record.total_fuel,
            live=self._kernel.population.live,
            faults=tuple(
                [AgentFault(wave, name(row.agent), Fault(row.fault).label, row.detail) for row in record.faults]
            ),
            outputs=tuple([Output(wave, name(row.agent), row.tag, row.payload) for row in record.outputs]),
            logs=tuple([LogLine(wave, name(row.agent), row.level, row.text) for row in record.logs]),
        )

    def run(self, waves: int | None = None) -> RunEnded:
        """Run until the run ends, or for so many waves. Answers the totals so far. Raises as `step` does."""
        done = 0
        while waves is None or done < waves:
            if self.step() is None:
                break
            done += 1
        return self.result

    @property
    def result(self) -> RunEnded:
        """The totals so far. ended: empty while there is more to do."""
        return RunEnded(
            ended=self._ended,
            digest=self._kernel.digest.hex(),
            waves=self._waves,
            turns=self._turns,
            messages=self._messages,
            fuel=self._fuel,
            faults=self._fault_count,
            run_file=self._parts.started.run_file,
        )

    @property
    def started(self) -> RunStarted:
        """What this run was assembled as."""
        return self._parts.started

    # ---- capture and restore ----

    def capture(self) -> bytes:
        """The run as it is between two waves: every agent's memory and hidden state, mail, timers, the shared state.

        A `Runtime` of the same profile goes on from it with `restore`, on any engine, with any workers, to the same
        digests. Raises UserError for a run that is closed, failed or in the middle of a wave; EnvironmentFailure.
        """
        with self._exclusively():
            totals = [self._waves, self._turns, self._messages, self._fuel, self._fault_count]
            state = capture_kernel(
                self._kernel,
                lambda numbers: self._parts.shards.capture(np.array(numbers, np.uint32)),
                self._live_feed("captured").capture(),
                totals,
            )
            return encode(state)

    def restore(self, data: bytes) -> None:
        """Go on from what `capture` gave: before the first wave, and without a run file, which would lack a beginning.

        Raises UserError for a capture that is not of this profile and these modules, or damaged; EnvironmentFailure.
        """
        with self._exclusively():
            feed = self._live_feed("restored")
            if self._parts.journal is not None:
                raise UserError("a run that goes on from a capture cannot write a run file: use record=False")
            if self._kernel.wave >= 0 or self._waves:
                raise UserError(f"a capture is restored before the first wave; this run is at wave {self._kernel.wave}")
            state = decode(data, self._kernel.header)
            try:
                self._take_over(state, feed)
            except BaseException:
                self._ended = "failed"  # half a state must never go on
                raise

    def _take_over(self, state: RunState, feed: LiveFeed) -> None:
        feed.restore(state.streams, state.posts)
        restore_kernel(self._kernel, state)
        self._parts.shards.restore(*instances_of(state))
        for batch in self._kernel.batches:
            self._parts.inference.submit(batch.wave, batch.model, [request.payload for request in batch.requests])
        self._waves, self._turns, self._messages, self._fuel, self._fault_count = state.totals

    def _live_feed(self, what: str) -> LiveFeed:
        feed = self._parts.feed
        if not isinstance(feed, LiveFeed):
            raise UserError(f"a replay cannot be {what}: it takes its outside inputs from the run file")
        return feed

    # ---- from outside ----

    def stop(self) -> None:
        """End the run after the wave in progress. May be called from any thread, and from a signal handler."""
        self._stopping = True

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stopping

    def post(self, agent: str, payload: bytes, tag: int = 0) -> None:
        """Send a message from the world outside; it enters before the next wave. May be called from any thread.

        agent: a name such as `trader/17`, or a group's name where the group has one agent. Raises UserError for an
        agent that does not exist, a replay, a payload that is too large, or too many posts waiting.
        """
        feed = self._parts.feed
        if not isinstance(feed, LiveFeed):
            raise UserError("a replay takes its outside inputs from the run file; nothing can be posted")
        if self._closed:
            raise UserError("this run is closed; nothing can be posted")
        number = self._agent_number(agent)
        mailbox = int(self._kernel.population.group_of(number).limits.mailbox)
        room = min(self._kernel.inbox_room(number), mailbox // ALIGNMENT * ALIGNMENT - FRAME_HEADER.size)
        if len(payload) > room:
            raise UserError(f"{agent}: a payload of {len(payload)} bytes; its inbox takes {room}")
        if not 0 <= tag <= 0xFFFFFFFF:
            raise UserError(f"tag {tag} is not within 0 to 2^32 - 1")
        feed.post(number, bytes(payload), tag)

    def _agent_number(self, name: str) -> int:
        group, slash, index = name.partition("/")
        first, count = self._parts.first_agents.get(group, (0, 0))
        if not slash and count == 1:
            return first
        if slash and index.isdecimal() and len(index) < 10 and index == str(int(index)):
            at = int(index)
            found = first + at if at < count else self._kernel.population.find(group, at)
            if found is not None:
                return found
        raise UserError(f'no agent is named "{name}"; a group of several needs an index, such as {group}/0')

    def outputs(self) -> list[Output]:
        """The messages to the world outside since the last call. The newest `limits.outputs` are kept for it."""
        taken = list(self._outputs)
        self._outputs.clear()
        self._output_bytes = 0
        return taken

    def faults(self) -> list[AgentFault]:
        """The turns that failed so far, the newest `limits.outputs` of them."""
        return list(self._faults)

    def state(self) -> dict[bytes, bytes]:
        """A copy of the state that agents share, as of the last commit."""
        return dict(self._kernel.store)

    # ---- the end ----

    def close(self) -> None:
        """Close everything. Safe to call twice. Raises EnvironmentFailure where the journal cannot be written."""
        if self._closed:
            return
        self._stopping = True
        if self._stepper == threading.get_ident():
            raise UserError("a run cannot be closed from within its own wave; stop() ends it after the wave")
        with self._stepping:  # another thread's wave ends first
            self._close()

    def _close(self) -> None:
        self._closed = True
        self._ended = self._ended or "stopped"
        failure: WavelockError | None = None
        with contextlib.suppress(WavelockError):
            self._parts.shards.close()
        try:
            if self._parts.journal is not None:
                self._parts.journal.close(self._ended)
        except WavelockError as error:
            failure = error
        for closable in self._parts.closables:
            closable.close()
        self._parts.tell("wavelock_run_ended", run=self.result)
        if failure is not None:
            raise failure

    def abandon(self) -> None:
        """Finish the run file and leave the rest as it is: for a process that ends now, while workers may be busy.

        Does nothing after `close`. Raises EnvironmentFailure as `close` does.
        """
        if not self._closed:
            self._closed = True
            self._ended = "stopped"
            if self._parts.journal is not None:
                self._parts.journal.close(self._ended)

    def __enter__(self) -> RunLoop:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except WavelockError:
            if error is None:
                raise
