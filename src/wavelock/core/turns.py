"""How a wave's turns are taken: inboxes sent to workers, or everything left where both sides reach it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from wavelock.core.homes import Homes, Part
from wavelock.core.mailboxes import Mailboxes
from wavelock.core.shard import Turns, U32Array, U64Array
from wavelock.core.shards import ShardSet

BALANCED_WAVES: Final = 32
"""So often it is asked whether another sharing would be better."""


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
    hashing: bool
    """Whether turns are to come with the hashes of their outboxes."""

    def share(self, plan: U32Array, header: WaveHeader, parts: Sequence[Part]) -> None:
        """Lay out a wave: its plan, its header, who does what of it, and room for what comes of it."""

    def run_turns(self) -> None:
        """Have workers that attend take the turns, and wait for them."""

    @property
    def gave_up(self) -> bool:
        """Whether a worker that attended met an error, which it tells when it is dismissed."""

    def attended(self, *, begins: bool) -> None:
        """Workers attend from now on, or are to stop it."""

    def collect(self) -> Turns:
        """What came of the turns."""

    def work(self) -> U64Array:
        """What the turns of each agent came to since the last call, in units that fuel alone tells. Shape (agents,)."""

    def groups_of(self, agents: U32Array) -> U32Array:
        """The groups of some agents."""

    def rehome(self, agents: U32Array) -> None:
        """Take their mail to where their homes are now."""

    def take_bounced(self) -> list[tuple[int, int, bytes]]:
        """(place, agent, frame) of what no inbox of the agent can ever hold, an agent's in the order of its mailbox."""


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

    def __init__(self, mailboxes: SharingMailboxes, shards: ShardSet, homes: Homes, *, attended: bool) -> None:
        """attended: workers wait for the next wave where the mailboxes are, instead of for a request."""
        self._mailboxes = mailboxes
        self._shards = shards
        self._homes = homes
        self._attended = attended
        self._waves = 0

    def take(self, plan: U32Array, header: WaveHeader) -> Outcome:
        """See `TurnsPort`."""
        self._waves += 1
        if self._homes.workers > 1 and self._waves % BALANCED_WAVES == 0:
            self._balance()
        parts = self._homes.parts(plan)
        self._mailboxes.share(plan, header, parts)
        if self._attended:
            self._shards.attend(lambda: self._mailboxes.attended(begins=False))
            self._mailboxes.attended(begins=True)
            self._mailboxes.run_turns()
            if self._mailboxes.gave_up:
                self._shards.dismiss()
        else:
            self._shards.take_turns([part.worker for part in parts])
        # By place alone: an agent's own are in the order of its mailbox.
        bounced = sorted(self._mailboxes.take_bounced(), key=lambda row: row[0])
        return Outcome(self._mailboxes.collect(), [(agent, frame) for _, agent, frame in bounced])

    def _balance(self) -> None:
        """Share the agents anew, by what their turns came to lately, where that is worth moving them."""
        moved = self._homes.balance(self._mailboxes.work())
        if moved is None:
            return
        agents, bounds = moved
        states = self._shards.capture(agents)
        self._shards.drop(agents)
        self._homes.bounds = bounds
        self._mailboxes.rehome(agents)
        self._shards.restore(agents, self._mailboxes.groups_of(agents), states)
