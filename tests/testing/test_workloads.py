"""Each workload exercises what it claims: otherwise the suite would compare nothing with nothing."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from wavelock.core.abi import EndReason, Fault, Outbound, Reason
from wavelock.core.outbox import Effect, MalformedOutboxError, parse_outbox
from wavelock.core.wave import WaveRecord
from wavelock.testing import WORKLOADS, Trace, Workload
from wavelock.testing.workloads import budgets, floats
from wavelock.testing.workloads.workload import group, row, table

Traces = Callable[[str], Trace]
NAMES = [workload.name for workload in WORKLOADS]
BY_NAME = dict(zip(NAMES, WORKLOADS, strict=True))


def turns(record: WaveRecord) -> Iterator[tuple[int, int, bytes]]:
    """(agent, fault, outbox) in plan order."""
    at = 0
    for index, agent in enumerate(record.plan.tolist()):
        end = at + int(record.outbox_bytes[index])
        yield agent, int(record.fault_codes[index]), record.outbox_data[at:end]
        at = end


def effects(trace: Trace) -> Iterator[tuple[int, Effect, bytes]]:
    """(agent, effect, payload) of all turns that went well."""
    for record in trace.records:
        for agent, fault, outbox in turns(record):
            if not fault:
                for effect in map(Effect._make, parse_outbox(outbox)):
                    yield agent, effect, outbox[effect.start : effect.end]


def faults_of(trace: Trace) -> dict[str, list[tuple[int, str]]]:
    """(wave, kind of fault) by agent."""
    found: dict[str, list[tuple[int, str]]] = {}
    for record in trace.records:
        for fault in record.faults:
            found.setdefault(trace.name(fault.agent), []).append((record.wave, Fault(fault.fault).label))
    return found


def outputs(trace: Trace) -> list[tuple[str, int, bytes]]:
    return [(trace.name(each.agent), each.tag, each.payload) for record in trace.records for each in record.outputs]


# ---- all of them ----


def test_names_are_unique_and_summaries_are_lines() -> None:
    assert len(set(NAMES)) == len(NAMES)
    assert all(0 < len(workload.summary) <= 70 and "\n" not in workload.summary for workload in WORKLOADS)


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_for_several_waves_and_says_many_things(name: str, traces: Traces) -> None:
    trace = traces(name)
    assert trace.ended in ("quiet", "exited")
    assert 2 <= len(trace.records) <= 60
    assert 4 <= trace.turns <= 1500
    assert len({payload for _, _, payload in outputs(trace)}) >= 4


@pytest.mark.parametrize("name", NAMES)
def test_its_faults_are_those_it_names(name: str, traces: Traces) -> None:
    assert traces(name).faults == BY_NAME[name].faults


def test_the_suite_has_every_fault_and_every_effect(traces: Traces) -> None:
    seen = frozenset().union(*(traces(name).faults for name in NAMES))
    assert seen == {fault.label for fault in Fault if fault}
    kinds = {Outbound(effect.kind) for name in NAMES for _, effect, _ in effects(traces(name))}
    assert kinds == set(Outbound) - {Outbound.LOG}


def test_quick_ones_are_few() -> None:
    assert 2 < len([workload for workload in WORKLOADS if workload.quick]) < len(WORKLOADS) / 2


def test_profiles_are_written_as_toml() -> None:
    text = table("run", seed=3) + row("topics", name="a", subscribers=["x"]) + group("x", "m.wat", limits={"inbox": 1})
    assert text == (
        '[run]\nseed = 3\n\n[[topics]]\nname = "a"\nsubscribers = ["x"]\n\n'
        '[[agents]]\nname = "x"\nmodule = "m.wat"\ncount = 1\nlimits = { inbox = 1 }\n\n'
    )


# ---- one by one ----


def test_messages(traces: Traces) -> None:
    trace = traces("messages")
    assert sum(record.messages for record in trace.records) > 100
    sent = Counter(trace.name(effect.peer) for _, effect, _ in effects(trace) if effect.kind == Outbound.SEND)
    assert {"ring/0", "crowd/0", "rejecting/0", "dropping/0", "quitter/0", "#999"} <= set(sent)
    assert {len(payload) % 8 for _, effect, payload in effects(trace) if effect.kind == Outbound.SEND} >= {0, 1, 4, 5}
    lost = {trace.name(log.agent) for record in trace.records for log in record.logs if "oldest" in log.text}
    assert lost == {"dropping/0"}
    ended = {trace.name(each.agent): each.code for record in trace.records for each in record.endings}
    assert ended == {"quitter/0": -7}
    # `rejecting` takes turn after turn for what did not fit the one before
    last = max(at for at, record in enumerate(trace.records) if record.messages)
    assert len(trace.records) > last + 1


def test_topics(traces: Traces) -> None:
    trace = traces("topics")
    published = {effect.peer for _, effect, _ in effects(trace) if effect.kind == Outbound.PUBLISH}
    assert published == {0, 1, 2, 9}
    texts = [log.text for record in trace.records for log in record.logs]
    assert "denied: publish to 2" in texts
    assert "lost a publication, its mailbox being full" in texts
    births = {name for record in trace.records for birth in record.births for name in birth.names()}
    assert {"late/0", "late/1", "late/2"} <= births
    spoke = {agent for agent, _, _ in outputs(trace)}
    assert {"late/0", "reader/0"} <= spoke
    answers = {agent for agent, effect, _ in effects(trace) if effect.kind == Outbound.SEND and effect.peer < 3}
    assert {trace.name(agent) for agent in answers} == {"answerer/0", "answerer/1"}


def test_state(traces: Traces) -> None:
    trace = traces("state")
    puts = [put for record in trace.records for put in record.puts]
    assert {put.key for put in puts} == {b"k/a", b"k/b", b"k/c"}
    asked = sum(effect.kind == Outbound.PUT for _, effect, _ in effects(trace))
    assert asked > 2 * len(puts), "most are refused: by grants, by the key's length, by the state's size"
    texts = " ".join(log.text for record in trace.records for log in record.logs)
    assert "denied: put of key" in texts
    assert "denied: watch of prefix b''" in texts
    watched = sum(effect.kind == Outbound.WATCH for _, effect, _ in effects(trace))
    assert watched == 2 * 4
    said = [agent for agent, _, _ in outputs(trace) if agent == "watcher/0"]
    assert len(said) > 2, "a watcher never yields: it speaks of what it watches"


def test_timers(traces: Traces) -> None:
    trace = traces("timers")
    waves = [record.wave for record in trace.records]
    assert 1000 in waves
    assert 1 << 40 in waves
    assert set(faults_of(trace)) == {"breaker/0", "breaker/1"}
    assert all(len(found) == 3 for found in faults_of(trace).values()), "each began anew twice"


def test_spawning(traces: Traces) -> None:
    trace = traces("spawning")
    births = [birth for record in trace.records for birth in record.births]
    parents = {agent: birth.parent for birth in births for agent in range(birth.agent, birth.agent + birth.total)}

    def depth(agent: int) -> int:
        return 0 if parents[agent] < 0 else 1 + depth(parents[agent])

    assert max(map(depth, parents)) == 3, "limits.spawn_depth"
    ends = Counter(EndReason(each.reason) for record in trace.records for each in record.endings)
    assert set(ends) == set(EndReason)
    asked = sum(effect.kind == Outbound.SPAWN for _, effect, _ in effects(trace))
    assert asked > len(parents), "grants and limits refuse some"
    live, most = 0, 0
    for record in trace.records:
        live += sum(birth.total for birth in record.births) - len(record.endings)
        most = max(most, live)
    assert most == 24, "limits.agents"
    texts = [log.text for record in trace.records for log in record.logs]
    assert any("which is not its child" in text for text in texts)


def test_inputs(traces: Traces) -> None:
    trace = traces("inputs")
    rows = [each for record in trace.records for each in record.inputs]
    count = Counter(each.stream for each in rows)
    assert count == {"lines": 42, "json": 3 * 10, "fixed": 9, "whole": 2 * 3, "flood": 150}
    assert {trace.name(each.agent) for each in rows} == {"reader/0", "reader/1", "reader/2", "slow/0", "slow/1"}
    payloads = {each.payload for each in rows}
    assert b"last, no end" in payloads
    assert b"" in payloads
    flood = [sum(each.stream == "flood" for each in record.inputs) for record in trace.records]
    assert 0 < min(count for count in flood if count) < 60, "full mailboxes hold records back"


def test_inference(traces: Traces) -> None:
    pytest.importorskip("onnxruntime")
    trace = traces("inference")
    answers = [each for record in trace.records for each in record.answers]
    reasons = Counter(each.reason for each in answers)
    assert set(reasons) == {0, Reason.BAD_TENSOR, Reason.BAD_DTYPE, Reason.BAD_SHAPE, Reason.NOT_FINITE}
    assert {each.model for each in answers} == {0, 1}
    waits = {record.wave - each.request_wave for record in trace.records for each in record.answers}
    assert waits == {1, 3}
    rows = {struct.unpack_from("<I", each.payload, 8)[0] for each in answers if each.payload and each.payload[1] == 2}
    assert len(rows) > 3, "batches of several sizes"
    refused = [log.text for record in trace.records for log in record.logs]
    assert "denied: infer to 1" in refused


def test_faults(traces: Traces) -> None:
    trace = traces("faults")
    found = faults_of(trace)
    assert len({agent.partition("/")[0] for agent in found}) == 23, "every group but the listener"
    assert {len(each) for each in found.values()} == {1, 2}, "with and without a fresh start"
    assert all(kind == found[agent][0][1] for agent in found for _, kind in found[agent])
    codes = {int(code) for record in trace.records for code in record.fault_details}
    assert any(code < -100 for code in codes), "an agent's own code"
    for record in trace.records:
        for _, fault, outbox in turns(record):
            if fault == Fault.MALFORMED_OUTBOX and outbox:
                with pytest.raises(MalformedOutboxError):
                    parse_outbox(outbox)


def test_traps(traces: Traces) -> None:
    trace = traces("traps")
    found = faults_of(trace)
    assert len(found) == 44, "all of them, once each"
    assert {len(each) for each in found.values()} == {1}
    kinds = Counter(each[0][1] for each in found.values())
    assert kinds["integer overflow"] >= 12
    assert kinds["bad conversion"] >= 8
    assert kinds["division by zero"] == 8
    assert kinds["memory bounds"] >= 9


def test_budgets(traces: Traces) -> None:
    trace = traces("budgets")
    found = {agent: each[0] for agent, each in faults_of(trace).items()}
    ended = {fuel: found.get(f"budget{fuel}/0", (99, ""))[0] for fuel in budgets.SWEEP}
    assert list(ended.values()) == sorted(ended.values()), "who has more gets at least as far"
    assert set(ended.values()) == {0, 1, 2, 3, 99}, "some end in each turn, and some never"
    assert ended[1] == 0
    assert ended[budgets.SWEEP[-1]] == 99
    operands = {fuel: found.get(f"operands{fuel}/0", (99, ""))[0] for fuel in budgets.OPERANDS}
    assert list(operands.values()) == sorted(operands.values())
    assert len(set(operands.values())) >= 4
    assert {name: kind for name, (_, kind) in found.items() if "-" in name} == {
        "dear-memory/0": "fuel",
        "dear-table/0": "fuel",
        "dear-fill/0": "fuel",
        "rich-fill/0": "memory bounds",
    }
    out_of_fuel = [
        (int(fuel), int(record.plan[at]))
        for record in trace.records
        for at, (code, fuel) in enumerate(zip(record.fault_codes.tolist(), record.fuel.tolist(), strict=True))
        if code == Fault.FUEL
    ]
    assert len(out_of_fuel) > 200
    names = {agent: trace.name(agent) for _, agent in out_of_fuel}
    sweeps = [(fuel, names[agent]) for fuel, agent in out_of_fuel if names[agent].startswith("budget")]
    assert all(name == f"budget{fuel}/0" for fuel, name in sweeps), "what ran out was used to the last unit"


def test_depth(traces: Traces) -> None:
    """In each group some never reach the limit, some are past it at once, and one crosses it on the way."""
    groups = {**depths(traces("depth")), **depths(traces("simd-depth"))}
    assert set(groups) == {"small", "large", "wide", "operands", "mutual"}
    for name, waves in groups.items():
        assert waves == sorted(waves, reverse=True), name
        assert waves[0] == 99, f"{name}: the first agent never goes too deep"
        assert any(0 < wave < 99 for wave in waves), f"{name}: one goes too deep in a later turn"


def depths(trace: Trace) -> dict[str, list[int]]:
    """By group, the wave in which each agent went too deep, or 99."""
    found = faults_of(trace)
    groups: dict[str, list[int]] = {}
    for birth in (birth for record in trace.records for birth in record.births):
        for name in birth.names():
            groups.setdefault(birth.group, []).append(found.get(name, [(99, "")])[0][0])
    return groups


def test_stack(traces: Traces) -> None:
    found = {**faults_of(traces("stack")), **faults_of(traces("simd-stack"))}
    assert found == {f"{name}/0": [(3, "depth")] for name in ("small", "large", "wide", "params")}
    told = {
        (agent, payload)
        for name in ("stack", "simd-stack")
        for agent, tag, payload in outputs(traces(name))
        if tag == 100
    }
    assert len(told) == 4 * 3, "each has an answer to each depth that went well"


def test_memory(traces: Traces) -> None:
    trace = traces("memory")
    found = faults_of(trace)
    kinds = {agent.partition("/")[0]: {kind for _, kind in each} for agent, each in found.items()}
    assert kinds == {"hungry": {"memory"}, "tight": {"memory"}, "bulk": {"memory bounds"}}
    sizes: dict[str, set[int]] = {}
    for agent, tag, payload in outputs(trace):
        if tag == 100:
            sizes.setdefault(agent, set()).add(int.from_bytes(payload, "little"))
    assert max(sizes["grower/0"]) == 5, "limits.memory"
    assert max(sizes["bounded/0"]) == 3, "the memory's own maximum"


def test_tables(traces: Traces) -> None:
    found = faults_of(traces("tables"))
    assert len(found) == 8
    assert {each[0][0] for each in found.values()} == {10}, "after ten turns that went well"


def test_integers(traces: Traces) -> None:
    told = {payload for agent, tag, payload in outputs(traces("integers")) if agent == "branch/0" and tag == 100}
    assert told == {struct.pack("<q", 7)}, "the start function and _initialize ran, once, in this order"


QUIET_32, QUIET_64 = 0x7FC00000, 0x7FF8000000000000


def words(trace: Trace, group_name: str, code: str) -> Counter[int]:
    """The payloads of a group as words of 4 or 8 bytes, counted."""
    size = struct.calcsize(code)
    found: Counter[int] = Counter()
    for agent, _, payload in outputs(trace):
        if agent.startswith(group_name) and len(payload) > 16:
            found.update(each for (each,) in struct.iter_unpack(f"<{code}", payload[: len(payload) // size * size]))
    return found


def test_floats(traces: Traces) -> None:
    trace = traces("floats")
    for group_name, code, quiet, infinity, specials in (
        ("pairs32", "I", QUIET_32, 0x7F800000, floats.SPECIALS_32),
        ("pairs64", "Q", QUIET_64, 0x7FF0000000000000, floats.SPECIALS_64),
    ):
        found = words(trace, group_name, code)
        sign = 1 << (8 * struct.calcsize(code) - 1)
        nans = {word for word in found if word & ~sign > infinity}
        assert found[quiet] > 300, "most NaNs are made, and canonical"
        kept = {each for special in specials for each in (special, special ^ sign) if special & ~sign > infinity}
        assert nans == {quiet} | kept, "and copysign shows those that were there, with either sign"
        assert sum(found.values()) == len(specials) ** 2 * 7
    assert {0x7FC00000, 0xFFC00000, 0x7FA00001, 0x7FC12345} <= set(words(trace, "singles32", "I"))
    shown = [payload for agent, _, payload in outputs(trace) if agent == "paths/0"]
    bits = Counter(int.from_bytes(payload, "little") for payload in shown)
    assert bits[QUIET_32] >= 2 * 12
    assert bits[0xFFC00000] >= 2 * 2, "a NaN that was made and then negated"
    assert bits[0xFFC12345] == 2, "loaded, not touched"
    assert bits[0xFFA00001] == 2, "signalling, negated"
    maps = {payload for agent, tag, payload in outputs(trace) if agent.startswith("maps") and tag in (101, 102)}
    assert len(maps) == 4 * 5 * 2, "no orbit meets another or itself"
    made = {payload for agent, tag, payload in outputs(trace) if agent.startswith("maps") and tag == 103}
    assert made == {struct.pack("<Q", QUIET_64)}


def test_simd(traces: Traces) -> None:
    trace = traces("simd")
    for group_name, code, quiet in (("pairs32", "I", QUIET_32), ("pairs64", "Q", QUIET_64)):
        found = words(trace, group_name, code)
        assert found[quiet] > 200
    # pmin and pmax show a NaN that was there
    assert {0xFFC12345, 0x7FA00001} <= set(words(trace, "pairs32", "I"))
    mixed = [payload[:16] for agent, _, payload in outputs(trace) if agent.startswith("mixer") and len(payload) == 48]
    assert len(set(mixed)) == len(mixed) == 15
    assert all(len(set(payload)) > 4 for payload in mixed), "bits are mixed, not lost"


def test_atomics(traces: Traces) -> None:
    found = faults_of(traces("atomics"))
    kinds = Counter(each[0][1] for each in found.values())
    assert kinds["misaligned atomic"] >= 8
    assert kinds["memory bounds"] >= 3


@pytest.mark.parametrize("workload", WORKLOADS, ids=NAMES)
def test_modules_are_text_that_says_what_it_is(workload: Workload) -> None:
    modules = [name for name in workload.files if name.endswith(".wat")]
    assert modules
    assert all(f'"{name}"' in workload.profile for name in modules), "no module that no group runs"
