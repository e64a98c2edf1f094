"""Outside inputs of a live run: files cut into records, and messages posted while it runs.

Rules:
- Records enter in file order, at most `per_wave` before a wave; streams in profile order, then posts.
- A record waits while its receiver's mailbox has no room for it: input files lose nothing.
- Memory holds one record ahead, never a file.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Protocol

from wavelock.core.abi import frame_bytes
from wavelock.core.errors import InputError, UserError
from wavelock.core.profile import InputSection
from wavelock.core.wave import Input

MAX_POSTS: Final = 65_536
_READ_BYTES: Final = 1 << 20


class Receivers(Protocol):
    """What a feed asks of the kernel about the agents that it feeds."""

    def input_fits(self, agent: int, payload_bytes: int, ahead: int, ahead_bytes: int) -> bool:
        """Whether its mailbox has room for one more, behind `ahead` others of `ahead_bytes`."""

    def inbox_room(self, agent: int) -> int:
        """The largest payload that its inbox can ever take, in bytes."""


def cut_records(section: InputSection, files: Sequence[Path], max_bytes: int) -> Iterator[bytes]:
    """The records of a stream, in order.

    max_bytes: the largest record that every receiver takes. Raises InputError, naming file and record.
    """
    for path in files:
        number = 0
        try:
            for number, record in enumerate(_cut(section, path, max_bytes), 1):
                if len(record) > max_bytes:
                    raise InputError(
                        f"inputs.{section.name}: {path}: record {number}: {len(record)} bytes are more than the "
                        f"receiver's inbox takes ({max_bytes}); raise its limits.inbox or cut smaller records"
                    )
                if section.cut == "jsonl":
                    _check_json(section, path, number, record)
                yield record
        except OSError as error:
            raise InputError(f"inputs.{section.name}: {path}: record {number + 1}: {error.strerror}") from None


def _cut(section: InputSection, path: Path, max_bytes: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        if section.cut == "file":
            yield file.read(max_bytes + 1)
        elif section.cut == "fixed":
            size = section.record_bytes or 1
            while record := file.read(size):
                if len(record) < size:
                    raise InputError(
                        f"inputs.{section.name}: {path}: its last record has {len(record)} bytes, expected {size}"
                    )
                yield record
        else:
            while line := file.readline(max_bytes + 3):
                record = line.removesuffix(b"\n").removesuffix(b"\r")
                if record or section.cut == "lines":
                    yield record


def _check_json(section: InputSection, path: Path, number: int, record: bytes) -> None:
    try:
        json.loads(record.decode(), parse_int=str)  # digits are not counted: the record is passed on as it stands
    except (ValueError, RecursionError) as error:
        raise InputError(f"inputs.{section.name}: {path}: record {number}: not JSON: {error}") from None


class _Intake:
    """What enters before one wave: frames and bytes accepted for each agent so far, against its mailbox's room."""

    def __init__(self, receivers: Receivers) -> None:
        self._receivers = receivers
        self._ahead: dict[int, tuple[int, int]] = {}
        self.taken: list[Input] = []

    def fits(self, agent: int, payload_bytes: int) -> bool:
        """Whether one more fits."""
        return self._receivers.input_fits(agent, payload_bytes, *self._ahead.get(agent, (0, 0)))

    def take(self, row: Input) -> None:
        """Accept one."""
        count, size = self._ahead.get(row.agent, (0, 0))
        self._ahead[row.agent] = count + 1, size + frame_bytes(len(row.payload))
        self.taken.append(row)


class _Stream:
    """One `[[inputs]]`: its records dealt to its receivers. `head` is the next record, not yet accepted."""

    def __init__(self, section: InputSection, records: Iterator[bytes], agents: Sequence[int]) -> None:
        self._section = section
        self._records = records
        self._agents = agents
        self._dealt = 0
        self.head = next(records, None)

    @property
    def name(self) -> str:
        """Its name in the profile."""
        return self._section.name

    @property
    def given(self) -> int:
        """How many records it has given."""
        return self._dealt

    def skip(self, count: int) -> None:
        """Go past the records that were given before a run was captured. Raises UserError where there are fewer."""
        for _ in range(count):
            if self.head is None:
                raise UserError(f"inputs.{self._section.name}: found {self._dealt} records, expected at least {count}")
            self._dealt += 1
            self.head = next(self._records, None)

    def _targets(self) -> Sequence[int]:
        if self._section.deal == "all":
            return self._agents
        return (self._agents[self._dealt % len(self._agents)],)

    def enter(self, intake: _Intake, receivers: Receivers) -> None:
        """Let in the records that enter now. Raises InputError for one that a receiver's own buffer can never hold."""
        for _ in range(self._section.per_wave):
            record, targets = self.head, self._targets()
            if record is None or not all(intake.fits(to, len(record)) for to in targets):
                return
            for to in targets:
                self._check_room(record, receivers.inbox_room(to))
                intake.take(Input(to, 0, record, self._section.name))
            self._dealt += 1
            self.head = next(self._records, None)

    def _check_room(self, record: bytes, room: int) -> None:
        if len(record) > room:
            raise InputError(
                f"inputs.{self._section.name}: record {self._dealt + 1}: {len(record)} bytes are more than the inbox "
                f"of the agent's own module takes ({room}); give it a larger buffer or cut smaller records"
            )


class LiveFeed:
    """A `ports.FeedPort` over input files and posts."""

    def __init__(self, receivers: Receivers) -> None:
        self._receivers = receivers
        self._streams: list[_Stream] = []
        self._posts: deque[Input] = deque()
        self._lock = threading.Lock()

    def add_stream(self, section: InputSection, records: Iterator[bytes], agents: Sequence[int]) -> None:
        """Add a stream, in profile order. agents: the ids that receive its records."""
        self._streams.append(_Stream(section, records, agents))

    def post(self, agent: int, payload: bytes, tag: int) -> None:
        """Queue a message from outside, from any thread. Raises UserError where too many wait."""
        with self._lock:
            if len(self._posts) >= MAX_POSTS:
                raise UserError(f"{MAX_POSTS} posted messages wait already; let the run take them first")
            self._posts.append(Input(agent, tag, payload))

    @property
    def waiting(self) -> bool:
        """See `ports.FeedPort`."""
        return bool(self._posts) or any(stream.head is not None for stream in self._streams)

    def next_wave(self, wave: int | None) -> int | None:
        """See `ports.FeedPort`: a live run goes where the kernel says."""
        return wave

    def take(self, wave: int) -> list[Input]:
        """See `ports.FeedPort`."""
        intake = _Intake(self._receivers)
        for stream in self._streams:
            stream.enter(intake, self._receivers)
        with self._lock:
            self._posts = deque(self._left_over(intake))
        return intake.taken

    def _left_over(self, intake: _Intake) -> Iterator[Input]:
        """Let in every post that fits, each receiver's in order; a full mailbox holds up nobody else's."""
        full: dict[int, None] = {}
        for row in self._posts:
            if row.agent in full or not intake.fits(row.agent, len(row.payload)):
                full[row.agent] = None
                yield row
            else:
                intake.take(row)

    def capture(self) -> tuple[list[tuple[str, int]], list[Input]]:
        """The name of each stream and how many records it has given, and the posts that wait."""
        with self._lock:
            return [(stream.name, stream.given) for stream in self._streams], list(self._posts)

    def restore(self, given: Sequence[tuple[str, int]], posts: Sequence[Input]) -> None:
        """Go on where `capture` was. Raises UserError, InputError for files that do not go as far."""
        names = [stream.name for stream in self._streams]
        if names != [name for name, _ in given]:
            found, expected = (", ".join(each) or "none" for each in (names, [name for name, _ in given]))
            raise UserError(f"inputs: found {found}, expected those of the captured run: {expected}")
        for stream, (_, count) in zip(self._streams, given, strict=True):
            stream.skip(count)
        with self._lock:
            self._posts = deque([*posts, *self._posts])

    def close(self) -> None:
        """See `ports.FeedPort`."""
        self._streams.clear()
