"""How a wave's turns are taken: inboxes sent to workers, or everything left where both sides reach it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from wavelock.core.mailboxes import Mailboxes
from wavelock.core.shard import Placed, Turns, U32Array
from wavelock.core.shards import Places, ShardSet


class WaveHeader(NamedTuple):
    """What the inboxes of a wave have in common. entropy: of `mailboxes.wave_entropy`."""

    wave: int
    time_ns: int
    entropy: int


class Outcome(NamedTuple):
    """What came of a wave's turns. bounced: (agent, frame) that no inbox of the agent can ever hold, in plan order."""

    turns: Turns
    bounced: list[tuple[int, bytes]]


class TurnsPort(Protocol):
    """Takes the turns of a wave."""

    def take(self, plan: U32Array, header: WaveHeader) -> Outcome:
        """One turn for each planned agent, in plan order. Valid until the next call. Raises EnvironmentFailure."""


class SharingMailboxes(Mailboxes, Protocol):
    """Mailboxes in memory that an engine's shards of this process reach."""

    shared: bool
    """Whether they do."""

    def share(self, plan: U32Array, header: WaveHeader) -> None:
        """Lay out a wave: its plan, its header, and room for what comes of it."""

    def collect(self, parts: Sequence[tuple[Places, Placed]]) -> Turns:
        """What came of it, by worker."""


class SentTurns:
    """Inboxes are packed and sent, outboxes come back."""

    def __init__(self, mailboxes: Mailboxes, shards: ShardSet) -> None:
        self._mailboxes = mailboxes
        self._shards = shards

    def take(self, plan: U32Array, header: WaveHeader) -> Outcome:
        """See `TurnsPort`."""
        packed = self._mailboxes.pack(plan, *header)
        return Outcome(self._shards.run(plan, packed.lengths, packed.inboxes), packed.bounced)


class SharedTurns:
    """Workers take the mail from where it lies, and leave their outboxes there."""

    def __init__(self, mailboxes: SharingMailboxes, shards: ShardSet) -> None:
        self._mailboxes = mailboxes
        self._shards = shards

    def take(self, plan: U32Array, header: WaveHeader) -> Outcome:
        """See `TurnsPort`."""
        self._mailboxes.share(plan, header)
        parts = self._shards.take_turns(plan)
        # By place alone: an agent's own are in the order of its mailbox.
        bounced = sorted((row for _, placed in parts for row in placed.bounced), key=lambda row: row[0])
        return Outcome(self._mailboxes.collect(parts), [(agent, frame) for _, agent, frame in bounced])
