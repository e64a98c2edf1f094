"""What observers and callers are told of a run: frozen values, safe to keep."""

from __future__ import annotations

from dataclasses import dataclass

from wavelock.core.ports import ModelReport


@dataclass(frozen=True)
class RunStarted:
    """A run that is about to begin.

    run_file: None where none is written. waves: the profile's bound, or None. memory_layout: how the engine lays out
    the memories of so many agents, such as `dense`; None where it has one way only.
    """

    name: str
    seed: int
    waves: int | None
    agents: int
    engine: str
    memory_layout: str | None
    scheduler: str
    transport: str
    workers: str
    worker_count: int
    run_file: str | None
    models: tuple[ModelReport, ...]


@dataclass(frozen=True)
class AgentFault:
    """A turn that failed. kind: the fault's label, such as `fuel`. detail: the agent's own code, or where it broke."""

    wave: int
    agent: str
    kind: str
    detail: str


@dataclass(frozen=True)
class Output:
    """A message from an agent to the world outside."""

    wave: int
    agent: str
    tag: int
    payload: bytes

    @property
    def text(self) -> str | None:
        """The payload as text; None where it is not printable UTF-8."""
        try:
            text = self.payload.decode()
        except UnicodeDecodeError:
            return None
        return text if all(char.isprintable() or char in "\n\t" for char in text) else None


@dataclass(frozen=True)
class LogLine:
    """A log effect, or what the kernel logs of an agent (a denied effect, a lost frame). level: `abi.LOG_LEVELS`."""

    wave: int
    agent: str
    level: int
    text: str


@dataclass(frozen=True)
class WaveCommitted:
    """A committed wave. fuel: units used by all turns. digest: hex, chained. live: agents that have not ended."""

    wave: int
    digest: str
    turns: int
    messages: int
    fuel: int
    live: int
    faults: tuple[AgentFault, ...]
    outputs: tuple[Output, ...]
    logs: tuple[LogLine, ...]


@dataclass(frozen=True)
class RunEnded:
    """A run that is over.

    ended: `quiet` (nothing ready, nothing due), `exited` (all agents ended), `waves` (the profile's bound), `stopped`
    (asked to, or closed before its end) or `failed` (an error ended it); empty while there is more to do.
    waves, turns, messages, fuel, faults: totals since the run began. digest: hex, of the last wave.
    """

    ended: str
    digest: str
    waves: int
    turns: int
    messages: int
    fuel: int
    faults: int
    run_file: str | None
