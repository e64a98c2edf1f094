"""The works: what agents do in each, as modules, as a profile, and as what is to be expected of a wave.

An agent's memory: the ABI record at 0, the sum of the first words of all messages seen at SEEN, the inbox at INBOX,
the outbox behind it. With messages of 16 bytes all of it lies in 4 KiB, sinks apart. The modules in `modules/` are text
with places to fill in; what comes of them is the same for Wavelock, for the floor and for every peer that runs modules.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wavelock.core.abi import ABI_RECORD, ABI_VERSION, FRAME_HEADER, TURN_HEADER, Outbound, frame_bytes
from wavelock.core.errors import UserError
from wavelock.core.form.limits import PAGE_BYTES

MODULES: Final = Path(__file__).with_name("modules")
SEEN: Final = 24
INBOX: Final = 64
HALF_BYTES: Final = 2048
"""The inbox ends and the outbox begins here where messages are small; then both end at 4 KiB."""
BYTES_LEAST, BYTES_MOST, BYTES_STEP = 16, 4096, 8
AGENTS_LEAST, AGENTS_MOST = 2, 1_000_000
UNROLLED_BYTES: Final = 64
"""Up to here a payload is copied word by word, as compilers do it."""
CROWD_FRAMES: Final = 24
"""Messages that one agent of `random` can get in a wave. The mean is 1: 25 come to one in 10^25 turns."""
SINK_SENDERS: Final = 10_000
SINK_BYTES: Final = 4 << 20
"""What a sink's inbox holds at most; there are more sinks where messages are large."""
STEPS: Final = 4000
"""Steps of one unit of arithmetic in `compute`: three units take some 20 us."""
UNDER_WAY: Final = 4096
"""Bytes of a mailbox beside one wave's messages: the start and the directory."""


@dataclass(frozen=True)
class Group:
    """Agents that run one module. frames: messages that one of them can get, or write, in a wave."""

    name: str
    module: str
    count: int
    frames: int = 1


@dataclass(frozen=True)
class Layout:
    """Where things lie in the memory of a group's agents, in bytes."""

    inbox_bytes: int
    outbox_bytes: int

    @property
    def outbox(self) -> int:
        """The outbox's address."""
        return INBOX + self.inbox_bytes

    @property
    def end(self) -> int:
        """Where nothing more lies."""
        return self.outbox + self.outbox_bytes


@dataclass(frozen=True)
class Job:
    """A work with its size: so many agents, messages of so many bytes. groups: at most two, ids given in this order.

    turns, messages: of one wave, once all agents had their first turn. turns is None where chance decides.
    """

    work: str
    agents: int
    bytes: int
    groups: tuple[Group, ...]
    turns: int | None
    messages: int
    topic: bool = False

    @property
    def frame_bytes(self) -> int:
        """A message with its header."""
        return frame_bytes(self.bytes)

    def layout(self, group: Group) -> Layout:
        """The memory of a group's agents: both buffers hold what one wave can bring."""
        most = TURN_HEADER.size + group.frames * self.frame_bytes
        inbox = max(HALF_BYTES - INBOX, _round_up(most, 64))
        outbox = HALF_BYTES if group.module == "reader" else max(HALF_BYTES, _round_up(most, 64))
        return Layout(inbox, outbox)

    @property
    def pages(self) -> int:
        """The size of every agent's memory, the same for all groups: each fills its place in a pool."""
        return _round_up(max(self.layout(group).end for group in self.groups), PAGE_BYTES) // PAGE_BYTES

    def slot_bytes(self, group: Group) -> int:
        """What a loop without bounds keeps of mail for each agent: header, and a wave's messages or the directory.

        What is published is kept once, for all.
        """
        frames = 0 if self.topic else group.frames * self.frame_bytes
        return _round_up(TURN_HEADER.size + max(frames, 2 * FRAME_HEADER.size), 64)

    def module(self, group: Group) -> str:
        """A group's module as WebAssembly text, its places filled in."""
        layout = self.layout(group)
        record = ABI_RECORD.pack(ABI_VERSION, INBOX, layout.inbox_bytes, layout.outbox, layout.outbox_bytes)
        places = {
            "pages": self.pages,
            "record": "".join(f"\\{byte:02x}" for byte in record),
            "seen": SEEN,
            "inbox": INBOX,
            "entropy": INBOX + 16,
            "self": INBOX + 24,
            "frames": INBOX + TURN_HEADER.size,
            "outbox": layout.outbox,
            "frame": self.frame_bytes,
            "yield_peer": self.frame_bytes + 8,
            "both": self.frame_bytes + FRAME_HEADER.size,
            "send": Outbound.SEND << 32 | self.bytes,
            "publish": Outbound.PUBLISH << 32 | self.bytes,
            "steps": STEPS,
            "copy": _copy(self.bytes),
        }
        text = (MODULES / f"{group.module}.wat").read_text(encoding="utf-8")
        return re.sub(r"@(\w+)@", lambda found: str(places[found[1]]), text)


def _round_up(value: int, step: int) -> int:
    return -(-value // step) * step


def _copy(payload: int) -> str:
    """Copies a payload from the frame at $read to the one at $write."""
    if payload > UNROLLED_BYTES:
        places = " ".join(f"(i32.add (local.get ${name}) (i32.const 16))" for name in ("write", "read"))
        return f"(memory.copy {places} (i32.const {payload}))"
    stores = (
        f"(i64.store offset={at} (local.get $write) (i64.load offset={at} (local.get $read)))"
        for at in range(FRAME_HEADER.size, FRAME_HEADER.size + payload, 8)
    )
    return "\n              ".join(stores)


def _ring(agents: int, size: int) -> Job:
    return Job("ring", agents, size, (Group("ring", "ring", agents),), agents, agents)


def _random(agents: int, size: int) -> Job:
    return Job("random", agents, size, (Group("crowd", "random", agents, CROWD_FRAMES),), None, agents)


def _all_to_one(agents: int, size: int) -> Job:
    most = max(1, min(SINK_SENDERS, SINK_BYTES // frame_bytes(size)))
    sinks = -(-agents // (most + 1))
    senders = agents - sinks
    groups = (Group("sinks", "reader", sinks, -(-senders // sinks)), Group("senders", "sender", senders, 2))
    return Job("all-to-one", agents, size, groups, agents, senders)


def _broadcast(agents: int, size: int) -> Job:
    groups = (Group("speaker", "speaker", 1), Group("listeners", "reader", agents - 1))
    return Job("broadcast", agents, size, groups, agents, agents, topic=True)


def _compute(agents: int, size: int) -> Job:
    return Job("compute", agents, size, (Group("ring", "compute", agents),), agents, agents)


WORKS: Final[dict[str, Callable[[int, int], Job]]] = {
    "ring": _ring,
    "random": _random,
    "all-to-one": _all_to_one,
    "broadcast": _broadcast,
    "compute": _compute,
}
"""Every work, by name: agents and bytes of a message to the job."""


def make_job(work: str, agents: int, size: int) -> Job:
    """A work with its size. Raises UserError for one that is not known or not possible."""
    if work not in WORKS:
        raise UserError(f"--work {work}: expected one of {', '.join(WORKS)}")
    if not AGENTS_LEAST <= agents <= AGENTS_MOST:
        raise UserError(f"--agents {agents}: expected {AGENTS_LEAST} to {AGENTS_MOST:,}")
    if not BYTES_LEAST <= size <= BYTES_MOST or size % BYTES_STEP:
        raise UserError(f"--bytes {size}: expected a multiple of {BYTES_STEP} from {BYTES_LEAST} to {BYTES_MOST}")
    return WORKS[work](agents, size)


def write_modules(job: Job, folder: Path) -> list[Path]:
    """The modules of a job as files, one for each group."""
    paths = [folder / f"{group.name}.wat" for group in job.groups]
    for path, group in zip(paths, job.groups, strict=True):
        path.write_text(job.module(group), encoding="utf-8")
    return paths


def profile_text(job: Job, modules: Sequence[Path], folder: Path, engine: str, workers: int) -> str:
    """The job's profile. folder: for the run file."""
    kind = "inline" if workers == 1 else "threads"
    tables = [
        f'[run]\nname = "bench-{job.work}"\nseed = 1',
        f'[engine]\nuse = "{engine}"',
        f'[workers]\nuse = "{kind}"\ncount = {workers}',
        f"[limits]\nagents = {job.agents}",
        f"[record]\nfolder = '{folder}'",
    ]
    if job.topic:
        names = ", ".join(f'"{group.name}"' for group in job.groups)
        tables.append(f'[[topics]]\nname = "news"\nsubscribers = [{names}]')
    tables += [_group_text(job, group, module) for group, module in zip(job.groups, modules, strict=True)]
    return "\n\n".join(tables) + "\n"


def _group_text(job: Job, group: Group, module: Path) -> str:
    layout = job.layout(group)
    limits = {
        "memory": job.pages * PAGE_BYTES,
        "inbox": layout.inbox_bytes,
        "outbox": layout.outbox_bytes,
        "mailbox": layout.inbox_bytes + UNDER_WAY,
        "mailbox_frames": group.frames + 64,
    }
    lines = [
        "[[agents]]",
        f'name = "{group.name}"',
        f"module = '{module}'",
        f"count = {group.count}",
        f"limits = {{ {', '.join(f'{key} = {value}' for key, value in limits.items())} }}",
    ]
    if job.topic and group.module == "speaker":
        lines.append('grants = { topics = ["news"] }')
    return "\n".join(lines)
