"""The works: modules that Wavelock takes, buffers that hold what a wave brings, and messages that are all the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import wasmtime

from bench.conftest import needs_compiler, seen_on_wavelock
from wavelock.bench.children import Child
from wavelock.bench.subject import DIGEST_WAVES, Subject, job_profile
from wavelock.bench.works import (
    CROWD_FRAMES,
    SINK_BYTES,
    SINK_SENDERS,
    WORKS,
    Job,
    make_job,
    profile_text,
)
from wavelock.core.errors import EnvironmentFailure, UserError

SIZES = (16, 64, 72, 1024, 4096)
Opened = Callable[[str, Job], Child]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("work", WORKS)
def test_modules_are_whole(work: str, size: int) -> None:
    job = make_job(work, 50, size)
    for group in job.groups:
        text = job.module(group)
        assert "@" not in text
        wasmtime.wat2wasm(text)
        layout = job.layout(group)
        assert layout.outbox % 8 == layout.inbox_bytes % 8 == layout.outbox_bytes % 8 == 0
        assert layout.end <= job.pages * 65536


@pytest.mark.parametrize("work", set(WORKS) - {"all-to-one"})
def test_small_messages_stay_within_four_kib_of_one_page(work: str) -> None:
    job = make_job(work, 1_000_000, 16)
    assert [job.layout(group).end for group in job.groups] == [4096] * len(job.groups)
    assert job.pages == 1


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("agents", [2, 3, 1000, 10_001, 10_002, 30_000, 1_000_000])
def test_sinks_hold_a_wave_of_messages(agents: int, size: int) -> None:
    job = make_job("all-to-one", agents, size)
    sinks, senders = job.groups
    assert sinks.count + senders.count == agents
    assert sinks.frames * sinks.count >= senders.count == job.messages
    assert sinks.frames <= SINK_SENDERS
    assert sinks.frames * job.frame_bytes <= SINK_BYTES
    assert job.layout(sinks).inbox_bytes >= 32 + sinks.frames * job.frame_bytes
    least = min(SINK_SENDERS, SINK_BYTES // job.frame_bytes)
    assert sinks.count == -(-agents // (least + 1)), "no more sinks than needed"


def test_slots_are_no_larger_than_needed() -> None:
    def slots(work: str, size: int) -> list[int]:
        job = make_job(work, 1001, size)
        return [job.slot_bytes(group) for group in job.groups]

    assert slots("ring", 16) == [64]
    assert slots("random", 16) == [832] == [32 + CROWD_FRAMES * 32 + 32]
    assert slots("broadcast", 4096) == [64, 64], "what is published is kept once"
    assert slots("all-to-one", 16) == [32 + 1000 * 32 + 32, 128]


@pytest.mark.parametrize(
    ("work", "agents", "size", "said"),
    [
        ("rings", 10, 16, "--work rings: expected one of ring, random, all-to-one, broadcast, compute"),
        ("ring", 1, 16, "--agents 1: expected 2 to 1,000,000"),
        ("ring", 1_000_001, 16, "--agents 1000001: expected 2 to 1,000,000"),
        ("ring", 10, 8, "--bytes 8: expected a multiple of 8 from 16 to 4096"),
        ("ring", 10, 20, "--bytes 20: expected a multiple of 8 from 16 to 4096"),
        ("ring", 10, 4104, "--bytes 4104: expected a multiple of 8 from 16 to 4096"),
    ],
)
def test_what_cannot_be(work: str, agents: int, size: int, said: str) -> None:
    with pytest.raises(UserError) as caught:
        make_job(work, agents, size)
    assert str(caught.value) == said


@pytest.mark.parametrize(("workers", "kind"), [(1, "inline"), (2, "threads")])
def test_the_profile(workers: int, kind: str, tmp_path: Path) -> None:
    job = make_job("broadcast", 10, 4096)
    text = profile_text(job, [tmp_path / "speaker.wat", tmp_path / "listeners.wat"], tmp_path, "wasmtime", workers)
    assert f'[workers]\nuse = "{kind}"\ncount = {workers}\n' in text
    assert 'subscribers = ["speaker", "listeners"]' in text
    assert text.count('grants = { topics = ["news"] }') == 1


@pytest.mark.parametrize("size", [16, 72])
@pytest.mark.parametrize("work", WORKS)
def test_wavelock_does_what_is_expected_of_every_wave(work: str, size: int, tmp_path: Path) -> None:
    job = make_job(work, 60, size)
    with Subject(job, job_profile(job, tmp_path, "wasmtime", 1), record=False) as subject:
        subject.run(2)
        for waves in (1, 7):
            lap = subject.run(waves)
            assert lap.messages == waves * job.messages
            assert lap.turns == waves * job.turns if job.turns is not None else 0 < lap.turns <= waves * 60


def test_a_run_file_is_written_where_asked(tmp_path: Path) -> None:
    job = make_job("ring", 5, 16)
    for record in (True, False):
        folder = tmp_path / str(record)
        folder.mkdir()
        with Subject(job, job_profile(job, folder, "wasmtime", 1), record) as subject:
            subject.run(2)
        assert len(list(folder.glob("*.wavelock"))) == record


def test_agents_that_fault_are_no_measurement(tmp_path: Path) -> None:
    job = make_job("ring", 5, 16)
    profile = job_profile(job, tmp_path, "wasmtime", 1)
    module = tmp_path / "ring.wat"
    module.write_text(module.read_text().replace("(loop $each", "unreachable (loop $each"))
    with (
        Subject(job, profile, record=False) as subject,
        pytest.raises(EnvironmentFailure, match=r"ring ended after 1 of 2 waves, 5 turns failed: .*unreachable"),
    ):
        subject.run(2)


# ---- the same on all ----


@pytest.mark.parametrize("size", [16, 72])
@pytest.mark.parametrize("work", set(WORKS) - {"random"})
@needs_compiler
def test_all_see_the_same_messages(work: str, size: int, tmp_path: Path, opened: Opened) -> None:
    """Sums over the first words of all messages, by agent: nothing is lost, doubled, or sent to somebody else."""
    job = make_job(work, 41, size)
    waves = 12
    expected = seen_on_wavelock(job, waves, tmp_path)
    assert expected != 0
    assert expected == seen_on_wavelock(job, waves, tmp_path, workers=2)
    for name in ("floor", "pooled-floor", "wasmtime-py"):
        child = opened(name, job)
        laps = [child.run(1), child.run(waves - 2), child.run(1)]
        assert laps[1].messages == (waves - 2) * job.messages, name
        assert laps[1].turns == (waves - 2) * 41 == (waves - 2) * (job.turns or 0), name
        assert child.close() == expected, name


@needs_compiler
def test_messages_by_chance_are_as_many(tmp_path: Path, opened: Opened) -> None:
    """Who gets one differs: the entropy of a turn is Wavelock's own."""
    job = make_job("random", 2000, 16)
    with Subject(job, job_profile(job, tmp_path, "wasmtime", 1), record=False) as subject:
        subject.run(1)
        own = subject.run(50)
    for name in ("floor", "wasmtime-py"):
        child = opened(name, job)
        child.run(1)
        lap = child.run(50)
        assert lap.messages == own.messages == 50 * 2000
        for turns in (lap.turns, own.turns):  # 1 - 1/e of the agents get mail in a wave, where chance is even
            assert 0.6 < turns / 50 / 2000 < 0.66, name


def test_the_digest_is_the_same_on_every_engine(tmp_path: Path) -> None:
    job = make_job("all-to-one", 12, 16)
    digests = set()
    for engine, workers in (("wasmtime", 1), ("wasmtime", 2), ("reference", 1)):
        with Subject(job, job_profile(job, tmp_path, engine, workers), record=False) as subject:
            subject.run(DIGEST_WAVES)
            digests.add(subject.digest)
    assert len(digests) == 1
