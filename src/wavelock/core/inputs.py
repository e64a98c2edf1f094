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
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from wavelock.core.errors import InputError, UserError
from wavelock.core.profile import InputSection
from wavelock.core.wave import Input

MAX_POSTS: Final = 65_536
_READ_BYTES: Final = 1 << 20
Fits = Callable[[int, int, int, int], bool]
"""(agent, payload bytes, records ahead for it, their bytes): whether its mailbox has room. `Kernel.input_fits`."""


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
                        f"inputs.{section.name}: {path}: ends with {len(record)} bytes; expected whole records of {size}"
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


class _Stream:
    """One `[[inputs]]`: its records dealt to its receivers. `head` is the next record, not yet accepted."""

    def __init__(self, section: InputSection, records: Iterator[bytes], receivers: Sequence[int]) -> None:
        self._section = section
        self._records = records
        self._receivers = receivers
        self._dealt = 0
        self.head = next(records, None)

    def _targets(self) -> Sequence[int]:
        if self._section.deal == "all":
            return self._receivers
        return (self._receivers[self._dealt % len(self._receivers)],)

    def take(self, fits: Fits, ahead: dict[int, tuple[int, int]]) -> list[Input]:
        """The records that enter now. ahead: frames and bytes accepted for each agent before this wave; updated."""
        taken: list[Input] = []
        for _ in range(self._section.per_wave):
            record = self.head
            if record is None or not all(fits(to, len(record), *ahead.get(to, (0, 0))) for to in self._targets()):
                break
            for to in self._targets():
                count, size = ahead.get(to, (0, 0))
                ahead[to] = count + 1, size + len(record) + 24
                taken.append(Input(to, 0, record, self._section.name))
            self._dealt += 1
            self.head = next(self._records, None)
        return taken


class LiveFeed:
    """A `ports.FeedPort` over input files and posts."""

    def __init__(self, fits: Fits) -> None:
        self._fits = fits
        self._streams: list[_Stream] = []
        self._posts: deque[Input] = deque()
        self._lock = threading.Lock()

    def add_stream(self, section: InputSection, records: Iterator[bytes], receivers: Sequence[int]) -> None:
        """Add a stream, in profile order. receivers: agent ids."""
        self._streams.append(_Stream(section, records, receivers))

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
        ahead: dict[int, tuple[int, int]] = {}
        taken = [row for stream in self._streams for row in stream.take(self._fits, ahead)]
        with self._lock:
            while self._posts and self._fits(
                self._posts[0].agent, len(self._posts[0].payload), *ahead.get(self._posts[0].agent, (0, 0))
            ):
                row = self._posts.popleft()
                count, size = ahead.get(row.agent, (0, 0))
                ahead[row.agent] = count + 1, size + len(row.payload) + 24
                taken.append(row)
        return taken

    def close(self) -> None:
        """See `ports.FeedPort`."""
        self._streams.clear()
