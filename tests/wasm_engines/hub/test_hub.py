"""The hub against the plain mailboxes: the same waves from the same outboxes, whatever agents write."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import numpy as np
import pytest

import wavelock
from wavelock.core.abi import WORLD, Fault, Outbound, frame
from wavelock.core.assembly import build_kernel, resolve_groups
from wavelock.core.errors import EnvironmentFailure
from wavelock.core.kernel import Kernel
from wavelock.core.mailboxes import GroupBounds, Mailboxes, PlainMailboxes
from wavelock.core.shard import Turns
from wavelock.core.turns import Outcome
from wavelock.core.wave import Input, WaveRecord
from wavelock.plugins.manager import Registry
from wavelock.wasm_engines.hub import memory
from wavelock.wasm_engines.hub.mailboxes import open_mailboxes
from wavelock.wasm_engines.hub.memory import PAGE_BYTES

PROFILE: Final = """
[limits]
message = 256
agents = 14
mailbox_frames = 12
timers = 3
[scheduler]
use = "round-robin"
width = %d
[[topics]]
name = "news"
subscribers = ["b", "a"]
[[topics]]
name = "secret"
subscribers = ["c"]
[[agents]]
name = "a"
module = "m.wasm"
count = 3
restart = "fresh"
config = "begin"
grants = { state = ["k"], state_read = [""], topics = ["news"], spawn = ["a", "c"] }
[[agents]]
name = "b"
module = "m.wasm"
count = 3
limits = { mailbox_frames = 5, overflow = "drop-oldest", inbox = 512 }
grants = { topics = ["*"], spawn = ["b"] }
[[agents]]
name = "c"
module = "m.wasm"
count = 2
limits = { denied = "fault", mailbox = 1024, message = 64 }
grants = { topics = ["secret"], state = ["c"] }
"""


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("hub")
    (made / "m.wasm").write_bytes(b"")  # nothing runs it
    return made


@pytest.fixture
def hub() -> Iterator[Mailboxes]:
    mailboxes = open_mailboxes()
    yield mailboxes
    mailboxes.close()


def kernel_over(mailboxes: Mailboxes, registry: Registry, folder: Path, width: int) -> Kernel:
    profile = wavelock.parse_profile(PROFILE % width, base=folder)
    modules: Any = [SimpleNamespace(digest="m")] * 3
    return build_kernel(profile, resolve_groups(profile, modules), registry, bytes(32), mailboxes)


def random_effect(dice: random.Random, agents: int) -> bytes:
    peer = dice.choice([*range(agents + 1)] * 3 + [WORLD, 99])
    size = dice.choice([0, 1, 7, 8, 16, 40, 100, 256, 257, 300])
    payload, tag = dice.randbytes(size), dice.randrange(1 << 32)
    kind = dice.choice(list(Outbound) + [Outbound.SEND] * 12 + [Outbound.PUBLISH] * 4 + [Outbound.YIELD] * 4)
    key = dice.choice([b"k", b"k1", b"c", b"", b"secret"])
    return {
        Outbound.SEND: lambda: frame(kind, peer, tag, payload),
        Outbound.PUBLISH: lambda: frame(kind, dice.randrange(3), tag, payload),
        Outbound.INFER: lambda: frame(kind, dice.randrange(2), tag, payload),
        Outbound.PUT: lambda: frame(kind, 0, tag, struct.pack("<H", len(key)) + key + payload),
        Outbound.GET: lambda: frame(kind, 0, tag, key),
        Outbound.SPAWN: lambda: frame(kind, dice.randrange(4), tag, payload[:40]),
        Outbound.STOP: lambda: frame(kind, peer, tag, b""),
        Outbound.TIMER: lambda: frame(kind, 0, tag, struct.pack("<Q", dice.choice([0, 1, 2, 5, 1 << 63]))),
        Outbound.LOG: lambda: frame(kind, dice.randrange(5), tag, payload),
        Outbound.YIELD: lambda: frame(kind, 0, tag, b""),
        Outbound.EXIT: lambda: frame(kind, 0, tag, struct.pack("<i", -3)),
        Outbound.WATCH: lambda: frame(kind, 0, tag, key),
    }[kind]()


def random_outbox(dice: random.Random, agents: int) -> bytes:
    data = b"".join(random_effect(dice, agents) for _ in range(dice.choice([0, 1, 1, 1, 2, 3, 8, 30])))
    if dice.random() < 0.06:
        at = dice.randrange(len(data) + 1)
        data = dice.choice([data[:at], data[:at] + dice.randbytes(5) + data[at:], data + bytes(8), data + bytes(16)])
    return data


def random_turns(dice: random.Random, count: int, agents: int) -> Turns:
    outboxes = [random_outbox(dice, agents) for _ in range(count)]
    faults = np.array([dice.choice([0] * 30 + [Fault.UNREACHABLE]) for _ in range(count)], np.int32)
    outboxes = [b"" if fault else outbox for fault, outbox in zip(faults, outboxes, strict=True)]
    lengths = np.array([len(outbox) for outbox in outboxes], np.uint32)
    return Turns(np.arange(count, dtype=np.uint64), faults, np.zeros(count, np.int32), lengths, outboxes)


class Twin:
    """Two kernels, one over each kind of mailbox, that must do the same."""

    def __init__(self, registry: Registry, folder: Path, hub: Mailboxes, seed: int) -> None:
        self.dice = random.Random(seed)
        width = self.dice.choice([0, 0, 3, 5])
        self.kernels = [kernel_over(mailboxes, registry, folder, width) for mailboxes in (PlainMailboxes(), hub)]

    def wave(self) -> bool:
        """One wave of both. Answers whether there is another."""
        seed, shrunk = self.dice.random(), self.dice.random() < 0.1
        records = [self.one(kernel, random.Random(seed), shrunk) for kernel in self.kernels]
        assert records[0] == records[1]
        return records[0] is not None

    def one(self, kernel: Kernel, dice: random.Random, shrunk: bool) -> dict[str, Any] | None:
        wave = kernel.next_wave(inputs_wait=False)
        if wave is None or not kernel.population.live:
            return None
        kernel.open_wave(wave)
        drops = kernel.take_drops().tolist()
        ids, groups = kernel.take_births()
        if len(ids):
            room = (
                200 if shrunk else 500
            )  # an inbox that is smaller than its mail: the module chose so when it restarted
            kernel.set_capacities(ids, np.full(len(ids), room, np.uint32))
        agents = len(kernel.population)
        inputs = [
            Input(dice.randrange(agents), 7, dice.randbytes(dice.randrange(60))) for _ in range(dice.randrange(3))
        ]
        fits = [kernel.input_fits(row.agent, len(row.payload), 0, 0) for row in inputs]
        kernel.intake([], inputs)
        plan = kernel.plan()
        packed = kernel.mailboxes.pack(plan, *kernel.wave_header())
        record = kernel.commit(plan, Outcome(random_turns(dice, len(plan), agents), packed.bounced))
        kernel.seal(record)
        return {
            "record": shown(record),
            "drops": drops,
            "births": (ids.tolist(), groups.tolist()),
            "fits": fits,
            "lengths": packed.lengths.tolist(),
            "inboxes": bytes(packed.inboxes),
            "bounced": packed.bounced,
            "mail": [kernel.mailboxes.mail(agent) for agent in range(len(kernel.population))],
            "held": [kernel.mailboxes.held(agent) for agent in range(len(kernel.population))],
            "ready": kernel.mailboxes.ready.tolist(),
            "rooms": [kernel.mailboxes.room(agent) for agent in range(len(kernel.population))],
            "live": kernel.population.live,
        }


def shown(record: WaveRecord) -> dict[str, Any]:
    return {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in vars(record).items()}


@pytest.mark.parametrize("seed", range(120))
def test_waves_are_the_same_as_with_plain_mailboxes(
    registry: Registry, folder: Path, hub: Mailboxes, seed: int
) -> None:
    twin = Twin(registry, folder, hub, seed)
    for _ in range(25):
        if not twin.wave():
            break


def test_the_waves_above_have_everything(registry: Registry, folder: Path) -> None:
    """What the comparison is worth: each of these happened in it."""
    met: set[str] = set()
    for seed in range(40):
        twin = Twin(registry, folder, PlainMailboxes(), seed)
        for _ in range(25):
            record = twin.one(twin.kernels[0], random.Random(seed), shrunk=seed % 3 == 0)
            if record is None:
                break
            wave = record["record"]
            met |= {Fault(code).name for code in wave["fault_codes"] if code}
            met |= {"bounced"} if record["bounced"] else set()
            met |= {line.text.partition(":")[0] for line in wave["logs"] if line.kernel}
            met |= {f"ended {row.reason}" for row in wave["endings"]}
            met |= {key for key in ("births", "outputs", "puts", "requests") if wave[key]}
    expected = {"UNREACHABLE", "MALFORMED_OUTBOX", "DENIED", "bounced", "denied", "births", "outputs", "puts"}
    expected |= {"ended 1", "ended 2", "ended 3"}
    expected |= {"lost a publication, its mailbox being full", "lost its oldest frames, its mailbox being full"}
    assert expected <= met, expected - met


BOUNDS: Final = GroupBounds(
    1 << 63, 1 << 30, 1 << 53, 1 << 40, drops_oldest=False, denied_is_fault=False, fuel=1, topics=frozenset((0,))
)


def filled(mailboxes: Mailboxes, agents: int) -> Mailboxes:
    mailboxes.open([BOUNDS], 1)
    mailboxes.add(0, agents, 1 << 24)
    mailboxes.relist([np.arange(agents, dtype=np.uint32)])
    return mailboxes


def sends(count: int, agents: int, size: int) -> bytes:
    return b"".join(frame(Outbound.SEND, at % agents, at, bytes([at % 251]) * size) for at in range(count))


def commit_all(mailboxes: Mailboxes, plan: list[int], outboxes: list[bytes]) -> int:
    lengths = np.array([len(outbox) for outbox in outboxes], np.uint32)
    zeros = np.zeros(len(plan), np.int32)
    turns = Turns(zeros.astype(np.uint64), zeros, zeros, lengths, outboxes)
    commit = mailboxes.commit(np.array(plan, np.uint32), turns, 0)
    assert commit.advance() == 0
    return commit.messages


def test_the_log_grows_and_is_used_again(hub: Mailboxes) -> None:
    filled(hub, 40)
    everyone = np.arange(40, dtype=np.uint32)
    sizes = set()
    for wave in range(60):
        assert commit_all(hub, [0, 1], [sends(200, 40, 500), sends(100, 40, 8)]) == 300
        packed = hub.pack(everyone if wave % 3 else everyone[:39], wave, 0, 0)  # at times one agent's mail waits
        assert int(packed.lengths.sum()) == len(packed.inboxes)
        sizes.add(hub.hub.log_parts[0].size)  # type: ignore[attr-defined]
    assert max(sizes) <= 8 * 300 * 530, "what was taken is given back"
    assert sum(hub.held(agent)[0] for agent in range(40)) == 0


def test_a_publication_that_outgrows_the_log_goes_on_where_it_stopped(hub: Mailboxes) -> None:
    filled(hub, 1000)
    text = frame(Outbound.PUBLISH, 0, 9, b"x" * 3000)
    assert commit_all(hub, [5], [text * 4]) == 4000
    assert {hub.held(agent) for agent in range(1000)} == {(4, 4 * (16 + 3000))}
    assert hub.mail(999) == [frame(2, 5, 9, b"x" * 3000, 1)] * 4


def test_a_full_memory_is_used_to_the_end_and_is_an_error_then(hub: Mailboxes, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(hub, 2)
    monkeypatch.setattr(memory, "PAGES", 100)
    letter = frame(2, 0, 1, bytes(10_000))

    def fill() -> None:
        for _ in range(1000):
            hub.put(0, letter)

    with pytest.raises(EnvironmentFailure, match=r"takes more than the 4 GiB that there are for it"):
        fill()
    assert set(hub.mail(0)) == {letter}
    assert len(hub.mail(0)) * len(letter) > 20 * PAGE_BYTES


def test_parts_move_and_keep_what_they_hold(hub: Mailboxes) -> None:
    filled(hub, 1)
    hub.put(0, frame(2, 0, 1, b"first"))
    hub.add(0, 5 * PAGE_BYTES, 1 << 20)
    assert hub.mail(0) == [frame(2, 0, 1, b"first")]
    assert hub.ready.sum() == 1
    last = 5 * PAGE_BYTES
    hub.put(last, frame(2, 0, 1, b"l" * 100_000))
    packed = hub.pack(np.array([last, 0], np.uint32), 3, 4, 5)
    assert packed.lengths.tolist() == [32 + 16 + 100_000, 32 + 16 + 8]
    assert bytes(packed.inboxes)[:32] == struct.pack("<QQQII", 3, 4, random_entropy(5, last), last, 1)


def random_entropy(entropy: int, agent: int) -> int:
    from wavelock.core.mailboxes import turn_entropy

    return int(turn_entropy(entropy, np.array([agent], np.uint32))[0])


def test_closing_twice_is_safe_and_leaves_nothing_to_look_at() -> None:
    mailboxes = filled(open_mailboxes(), 3)
    mailboxes.close()
    mailboxes.close()
    for use in (lambda: mailboxes.ready, lambda: mailboxes.held(0), lambda: mailboxes.mail(0)):
        with pytest.raises((LookupError, ValueError)):
            use()
