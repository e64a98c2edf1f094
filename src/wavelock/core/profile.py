"""The profile as frozen, typed values. One struct a section; the JSON schema is generated from these.

Field descriptions are part of the product: editors show them, and `docs/profile.md` is checked against them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from wavelock.core.units import MAX_U64, ByteSize, Duration

NAME_PATTERN = r"^[A-Za-z][A-Za-z0-9_.-]{0,63}$"
Name = Annotated[str, Meta(pattern=NAME_PATTERN)]
Count = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Positive = Annotated[int, Meta(ge=1, le=2**53)]


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of all sections: unknown keys are refused."""


class RunSection(Section, frozen=True, kw_only=True):
    """`[run]`: what the run is called and how it is seeded and bounded."""

    name: Annotated[Name, Meta(description="Names the run and its file.")] = "run"
    # msgspec keeps integer bounds within i64, so the u64 bound is checked with the other rules.
    seed: Annotated[
        int,
        Meta(ge=0, description="Seed of every turn's entropy, 0 to 2^64 - 1.", extra_json_schema={"maximum": MAX_U64}),
    ] = 0
    waves: Annotated[Positive | None, Meta(description="Stop before this wave; absent: run until quiet.")] = None
    wave_ns: Annotated[Duration, Meta(description="Virtual time from one wave to the next.")] = Duration(1_000_000)


# Bounds that a group may set for itself carry one description in both places.
FUEL_PER_TURN: Final = Meta(description="Fuel units that one turn may use.")
MEMORY: Final = Meta(description="Linear memory, bytes.")
INBOX: Final = Meta(description="Bytes of one turn's inbox, header included.")
OUTBOX: Final = Meta(description="Bytes of one turn's outbox.")
MESSAGE: Final = Meta(description="Payload bytes of one frame sent.")
MAILBOX: Final = Meta(description="Bytes of frames that wait for an agent.")
MAILBOX_FRAMES: Final = Meta(description="Frames that wait for an agent.")
OVERFLOW: Final = Meta(description="What a full mailbox does with one frame more.")
DENIED: Final = Meta(description="What an effect without a grant becomes.")
TIMERS: Final = Meta(description="Timers that an agent may have pending.")
WATCHES: Final = Meta(description="Key prefixes that an agent may watch.")
RESTARTS: Final = Meta(description="Fresh starts after faults that an agent may have.")


class LimitsSection(Section, frozen=True, kw_only=True):
    """`[limits]`: every bound of a run, with its unit. Per agent unless said; `[[agents]]` may set its own."""

    fuel_per_turn: Annotated[Positive, FUEL_PER_TURN] = 10_000_000
    memory: Annotated[ByteSize, MEMORY] = ByteSize(16 << 20)
    inbox: Annotated[ByteSize, INBOX] = ByteSize(64 << 10)
    outbox: Annotated[ByteSize, OUTBOX] = ByteSize(64 << 10)
    message: Annotated[ByteSize, MESSAGE] = ByteSize(64 << 10)
    mailbox: Annotated[ByteSize, MAILBOX] = ByteSize(1 << 20)
    mailbox_frames: Annotated[Positive, MAILBOX_FRAMES] = 4096
    overflow: Annotated[Literal["reject", "drop-oldest"], OVERFLOW] = "reject"
    denied: Annotated[Literal["answer", "fault"], DENIED] = "answer"
    timers: Annotated[Count, TIMERS] = 1024
    watches: Annotated[Count, WATCHES] = 64
    restarts: Annotated[Count, RESTARTS] = 3
    stack: Annotated[
        ByteSize, Meta(description="Depth of one turn's calls, bytes as docs/fuel.md counts them; the whole run's.")
    ] = ByteSize(256 << 10)
    agents: Annotated[Positive, Meta(description="Agents alive at one time; the whole run's.")] = 10_000
    spawn_depth: Annotated[Count, Meta(description="Generations of spawned agents; the whole run's.")] = 16
    state: Annotated[ByteSize, Meta(description="Bytes of keys and values; the whole run's.")] = ByteSize(256 << 20)
    state_key: Annotated[ByteSize, Meta(description="Bytes of one key; the whole run's.")] = ByteSize(1024)
    outputs: Annotated[Positive, Meta(description="Outputs kept for Runtime.outputs(); the whole run's.")] = 65_536
    journal: Annotated[ByteSize, Meta(description="Bytes of the run file; the whole run's.")] = ByteSize(64 << 30)


class AgentLimits(Section, frozen=True, kw_only=True):
    """`[agents.limits]`: this group's own bounds; what is absent comes from `[limits]`."""

    fuel_per_turn: Annotated[Positive | None, FUEL_PER_TURN] = None
    memory: Annotated[ByteSize | None, MEMORY] = None
    inbox: Annotated[ByteSize | None, INBOX] = None
    outbox: Annotated[ByteSize | None, OUTBOX] = None
    message: Annotated[ByteSize | None, MESSAGE] = None
    mailbox: Annotated[ByteSize | None, MAILBOX] = None
    mailbox_frames: Annotated[Positive | None, MAILBOX_FRAMES] = None
    overflow: Annotated[Literal["reject", "drop-oldest"] | None, OVERFLOW] = None
    denied: Annotated[Literal["answer", "fault"] | None, DENIED] = None
    timers: Annotated[Count | None, TIMERS] = None
    watches: Annotated[Count | None, WATCHES] = None
    restarts: Annotated[Count | None, RESTARTS] = None


class Grants(Section, frozen=True, kw_only=True):
    """`[agents.grants]`: what the group may use. Deny by default: an empty list grants nothing, "*" everything."""

    models: Annotated[tuple[str, ...], Meta(description="Models it may ask.")] = ()
    topics: Annotated[tuple[str, ...], Meta(description="Topics it may publish to.")] = ()
    state: Annotated[tuple[str, ...], Meta(description="Key prefixes it may write, read and watch.")] = ()
    state_read: Annotated[tuple[str, ...], Meta(description="Key prefixes it may read and watch.")] = ()
    spawn: Annotated[tuple[str, ...], Meta(description="Groups whose agents it may spawn.")] = ()


class ModelSection(Section, frozen=True, kw_only=True):
    """`[[models]]`: one model that agents may ask."""

    name: Annotated[Name, Meta(description="What grants and agents call it.")]
    backend: Annotated[str, Meta(description="Inference backend.")] = "onnx"
    repository: Annotated[str, Meta(description="Folder in Triton's layout, relative to the profile.")]
    model: Annotated[str | None, Meta(description="Folder in the repository; absent: the name.")] = None
    version: Annotated[int | str, Meta(description='A number, "latest" or "blake3:<digest>".')] = "latest"
    providers: Annotated[tuple[str, ...], Meta(description="Devices, preferred first.", min_length=1)] = ("cpu",)
    strict: Annotated[bool, Meta(description="Refuse instead of falling back.")] = False
    latency: Annotated[Positive, Meta(description="Waves from a request to its answer.")] = 1
    finite: Annotated[bool, Meta(description="Refuse NaN and infinity in requests.")] = True
    max_batch_rows: Annotated[Positive, Meta(description="Rows of one batch at most.")] = 1024


class TopicSection(Section, frozen=True, kw_only=True):
    """`[[topics]]`: a named list of receivers."""

    name: Annotated[Name, Meta(description="What grants and agents call it.")]
    subscribers: Annotated[tuple[str, ...], Meta(description="Groups that receive what is published.")] = ()


class AgentSection(Section, frozen=True, kw_only=True):
    """`[[agents]]`: a group of agents that run one module. With `count = 0` it is a template for spawning."""

    name: Annotated[Name, Meta(description="The group's name; its agents are name/0, name/1, ...")]
    module: Annotated[str, Meta(description="WebAssembly module or text, relative to the profile.")]
    count: Annotated[Count, Meta(description="Agents at the start of the run.")] = 1
    config: Annotated[str | dict[str, Any], Meta(description="What each agent is given with its start.")] = ""
    priority: Annotated[int, Meta(ge=-(2**31), le=2**31 - 1, description="For the priority scheduler.")] = 0
    after: Annotated[tuple[str, ...], Meta(description="Groups it follows, for the dag scheduler.")] = ()
    restart: Annotated[Literal["never", "fresh"], Meta(description="What follows a fault.")] = "never"
    limits: Annotated[AgentLimits, Meta(description="This group's own bounds.")] = AgentLimits()
    grants: Annotated[Grants, Meta(description="What the group may use.")] = Grants()


class InputSection(Section, frozen=True, kw_only=True):
    """`[[inputs]]`: files cut into records, each a message from the world outside."""

    name: Annotated[Name, Meta(description="Names the stream in errors and in the run file.")]
    files: Annotated[tuple[str, ...], Meta(description="Files or globs, relative to the profile.", min_length=1)]
    to: Annotated[tuple[str, ...], Meta(description="Groups that receive the records.", min_length=1)]
    cut: Annotated[Literal["lines", "jsonl", "fixed", "file"], Meta(description="What one record is.")] = "lines"
    record_bytes: Annotated[ByteSize | None, Meta(description='Size of a record for cut = "fixed".')] = None
    deal: Annotated[
        Literal["round-robin", "all"], Meta(description="One receiver after the other, or every record to all.")
    ] = "round-robin"
    per_wave: Annotated[Positive, Meta(description="Records that enter before one wave.")] = 1


class RecordSection(Section, frozen=True, kw_only=True):
    """`[record]`: the run file."""

    enabled: Annotated[bool, Meta(description="Write a run file.")] = True
    file: Annotated[str | None, Meta(description="Its path, relative to the profile; must not exist.")] = None
    folder: Annotated[
        str | None, Meta(description="Folder for numbered files, relative to the profile; absent: ./runs.")
    ] = None
    turns: Annotated[bool, Meta(description="Keep each turn's fuel, fault and checksum, to name agents.")] = True


class WorkersSection(Section, frozen=True, kw_only=True):
    """`[workers]`: who executes turns."""

    use: Annotated[str, Meta(description="Kind of worker.")] = "inline"
    count: Annotated[int, Meta(ge=1, le=4096, description="Number of workers.")] = 1
    settings: msgspec.Struct | None = None


class Choice(Section, frozen=True, kw_only=True):
    """A family's chosen member: `use` and its own settings, checked by the member."""

    use: Annotated[str, Meta(description="The member's name.")]
    settings: msgspec.Struct | None = None


class EngineSection(Section, frozen=True, kw_only=True):
    """`[engine]`: what runs the modules."""

    use: Annotated[str, Meta(description="The engine's name.")] = "wasmtime"
    features: Annotated[
        tuple[Literal["tail-call"], ...],
        Meta(description="Features of WebAssembly beyond the portable ones, for modules that need one engine."),
    ] = ()
    settings: msgspec.Struct | None = None


class Profile(Section, frozen=True, kw_only=True):
    """A whole profile, checked.

    source: the file's path, or what stands for it in errors. base: the folder that relative paths start from.
    raw: the tables as read, overrides applied, without defaults: what a run file keeps.
    """

    run: RunSection
    engine: EngineSection
    scheduler: Choice
    transport: Choice
    workers: WorkersSection
    limits: LimitsSection
    models: tuple[ModelSection, ...]
    topics: tuple[TopicSection, ...]
    agents: tuple[AgentSection, ...]
    inputs: tuple[InputSection, ...]
    record: RecordSection
    source: str
    base: Path
    raw: dict[str, Any]

    def path(self, relative: str) -> Path:
        """A path of the profile, resolved against its folder."""
        return self.base / relative

    def limits_of(self, group: AgentSection) -> LimitsSection:
        """The bounds of a group: its own over the run's."""
        own = {key: value for key, value in msgspec.structs.asdict(group.limits).items() if value is not None}
        return msgspec.structs.replace(self.limits, **own) if own else self.limits


MAX_SEED = MAX_U64
