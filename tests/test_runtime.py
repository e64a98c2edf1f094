"""The Python interface: run, step, post, outputs, state, stop and close; and the same over anyio."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

import helpers
from wavelock import (
    AsyncRuntime,
    Output,
    Profile,
    ProfileError,
    Runtime,
    UserError,
    WaveCommitted,
    hookimpl,
    load_profile,
    parse_profile,
)
from wavelock.core.runreader import RunFileReader

Load = Callable[..., Profile]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Makes a profile: its text, and its modules by group."""

    def run(text: str = "", **modules: str) -> Profile:
        return load_profile(helpers.write_profile(tmp_path, text, **modules))

    return run


# ---- running ----


def test_run_to_the_end(load: Load) -> None:
    with Runtime(load(hello=helpers.HELLO, falls=helpers.TRAPS), record=False) as runtime:
        assert runtime.result.ended == ""
        result = runtime.run()
        assert (result.ended, result.waves, result.turns, result.faults, result.run_file) == ("quiet", 1, 2, 1, None)
        assert runtime.outputs() == [Output(0, "hello/0", 0, b"hello")]
        assert runtime.outputs() == []
        assert [(fault.wave, fault.agent, fault.kind) for fault in runtime.faults()] == [(0, "falls/0", "unreachable")]
    assert runtime.result == result


def test_an_exit_ends_the_run(load: Load) -> None:
    leaves = helpers.same_each_turn(helpers.exits())
    with Runtime(load(leaves=leaves), record=False) as runtime:
        assert runtime.run().ended == "exited"


def test_a_bound_on_waves(load: Load) -> None:
    with Runtime(load("[run]\nwaves = 3\n", ticks=helpers.TICKS), record=False) as runtime:
        assert (runtime.run().ended, runtime.result.waves) == ("waves", 3)
        assert runtime.step() is None


def test_running_in_parts_is_running_at_once(load: Load) -> None:
    profile = load("[run]\nwaves = 5\n", ticks=helpers.TICKS)
    with Runtime(profile, record=False) as runtime:
        whole = runtime.run()
    with Runtime(profile, record=False) as runtime:
        assert runtime.run(2).waves == 2
        assert runtime.result.ended == ""
        step = runtime.step()
        assert isinstance(step, WaveCommitted)
        assert (step.wave, step.turns, step.live) == (2, 1, 1)
        assert runtime.run() == whole
    assert whole.digest != step.digest


def test_steps_chain_their_digests(load: Load) -> None:
    with Runtime(load(ticks=helpers.TICKS), record=False) as runtime:
        digests = [wave.digest for wave in (runtime.step(), runtime.step()) if wave is not None]
        assert len(set(digests)) == 2
        assert runtime.result.digest == digests[-1]


def test_what_was_started(load: Load) -> None:
    text = '[run]\nname = "n"\nseed = 3\nwaves = 9\n[workers]\nuse = "threads"\ncount = 2\n'
    with Runtime(load(text, ticks=helpers.TICKS), record=False) as runtime:
        started = runtime.started
    assert (started.name, started.seed, started.waves, started.agents) == ("n", 3, 9, 1)
    assert (started.workers, started.worker_count, started.models) == ("threads", 2, ())


def test_the_run_file(load: Load, tmp_path: Path) -> None:
    profile = load('[record]\nfile = "x.wavelock"\n[run]\nwaves = 2\n', ticks=helpers.TICKS)
    with Runtime(profile) as runtime:
        result = runtime.run()
    assert result.run_file == str(tmp_path / "x.wavelock")
    with RunFileReader(tmp_path / "x.wavelock") as reader:
        assert [row.digest.hex() for row in reader.waves()][-1] == result.digest
        assert reader.head["ended"] == "waves"


def test_a_profile_may_record_nothing(load: Load) -> None:
    with Runtime(load("[record]\nenabled = false\n", hello=helpers.HELLO)) as runtime:
        assert runtime.started.run_file is None


def test_settings_of_a_loaded_profile(tmp_path: Path) -> None:
    path = helpers.write_profile(tmp_path, ticks=helpers.TICKS)
    assert load_profile(path, ["run.seed=9"]).run.seed == 9
    assert parse_profile(path.read_text(), base=tmp_path, settings=["run.seed=8"]).run.seed == 8


def test_the_state(load: Load) -> None:
    text = load(keeps=helpers.same_each_turn(helpers.puts("k/a", "1"), helpers.puts("other", "2"))).source
    path = Path(text)
    path.write_text(path.read_text() + 'grants = { state = ["k/"] }\n')
    with Runtime(load_profile(path), record=False) as runtime:
        runtime.run(waves=1)  # the denied put is answered, which makes the agent ready again
        state = runtime.state()
        assert state == {b"k/a": b"1"}
        state.clear()
        assert runtime.state() == {b"k/a": b"1"}


def test_outputs_are_bounded(load: Load) -> None:
    profile = load("[limits]\noutputs = 2\n[run]\nwaves = 5\n", ticks=helpers.TICKS)
    with Runtime(profile, record=False) as runtime:
        runtime.run()
        assert [output.wave for output in runtime.outputs()] == [3, 4]


# ---- from outside ----


def test_a_post_wakes_a_quiet_run(load: Load) -> None:
    with Runtime(load(echo=helpers.echoes()), record=False) as runtime:
        assert runtime.run().ended == "quiet"
        runtime.post("echo", b"one", 5)
        runtime.post("echo/0", b"two")
        assert runtime.run().ended == "quiet"
        assert [(output.payload, output.tag) for output in runtime.outputs()] == [(b"one", 5), (b"two", 0)]


def test_posts_from_other_threads(load: Load) -> None:
    with Runtime(load(echo=helpers.echoes()), record=False) as runtime:
        threads = [threading.Thread(target=runtime.post, args=("echo", bytes([at]))) for at in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        runtime.run()
        assert sorted(output.payload for output in runtime.outputs()) == [bytes([at]) for at in range(8)]


def test_a_post_while_the_run_goes_on(load: Load) -> None:
    """The thread that posts waits for a wave, and the thread that runs for the post: no time is involved."""
    with Runtime(load(ticks=helpers.TICKS, echo=helpers.echoes()), record=False) as runtime:
        running = threading.Event()

        def post() -> None:
            running.wait()
            runtime.post("echo", b"hi")

        thread = threading.Thread(target=post)
        thread.start()
        while not any(output.payload == b"hi" for output in runtime.outputs()):
            runtime.step()
            running.set()
        thread.join()


@pytest.mark.parametrize(
    ("agent", "payload", "tag", "problem"),
    [
        ("nobody", b"", 0, 'no agent is named "nobody"'),
        ("many", b"", 0, 'no agent is named "many"; a group of several needs an index, such as many/0'),
        ("many/2", b"", 0, 'no agent is named "many/2"'),
        ("many/x", b"", 0, 'no agent is named "many/x"'),
        ("many/0", b"x" * 70_000, 0, "many/0: a payload of 70000 bytes; its inbox takes "),
        ("many/0", b"", -1, r"tag -1 is not within 0 to 2\^32 - 1"),
        ("many/0", b"", 2**32, "tag 4294967296 is not within"),
    ],
)
def test_posts_that_are_refused(load: Load, agent: str, payload: bytes, tag: int, problem: str) -> None:
    profile = load(many=helpers.echoes())
    path = Path(profile.source)
    path.write_text(path.read_text() + "count = 2\n")
    with Runtime(load_profile(path), record=False) as runtime:
        with pytest.raises(UserError, match=problem):
            runtime.post(agent, payload, tag)
        assert runtime.run().waves == 1


def test_a_post_that_its_mailbox_never_holds_is_refused(load: Load) -> None:
    """Else the run would wait for ever for room that cannot be."""
    with Runtime(load("[limits]\nmailbox = 100\n", echo=helpers.echoes()), record=False) as runtime:
        runtime.run()
        with pytest.raises(UserError, match="echo: a payload of 81 bytes; its inbox takes 80"):
            runtime.post("echo", bytes(81))
        runtime.post("echo", bytes(80))
        runtime.run(10)
        assert [len(output.payload) for output in runtime.outputs()] == [80]


def test_stop_from_another_thread(load: Load) -> None:
    with Runtime(load(ticks=helpers.TICKS), record=False) as runtime:
        assert not runtime.stopping
        stopper = threading.Thread(target=runtime.stop)
        runtime.step()
        stopper.start()
        result = runtime.run()
        stopper.join()
        assert (result.ended, runtime.stopping) == ("stopped", True)
        assert runtime.step() is None


# ---- the end ----


def test_a_closed_runtime_refuses(load: Load) -> None:
    with Runtime(load(echo=helpers.echoes()), record=False) as runtime:
        runtime.run()
    runtime.close()
    for refused in (runtime.step, runtime.run, lambda: runtime.post("echo", b"")):
        with pytest.raises(UserError, match="this run is closed"):
            refused()
    assert runtime.result.waves == 1
    assert runtime.outputs() == []


def test_a_run_that_failed_refuses(load: Load, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("ok\n" + "x" * 100_000)
    text = '[[inputs]]\nname = "in"\nfiles = ["in"]\nto = ["echo"]\n'
    with Runtime(load(text, echo=helpers.echoes()), record=False) as runtime:
        with pytest.raises(UserError, match=r"inputs\.in: .*record 2"):
            runtime.run()
        with pytest.raises(UserError, match="this run has failed; open a new Runtime"):
            runtime.step()
        assert runtime.result.ended == "failed"


def test_leaving_early_keeps_what_was_committed(load: Load, tmp_path: Path) -> None:
    profile = load('[record]\nfile = "x.wavelock"\n', ticks=helpers.TICKS)
    with contextlib.suppress(ZeroDivisionError), Runtime(profile) as runtime:
        runtime.run(3)
        raise ZeroDivisionError
    with RunFileReader(tmp_path / "x.wavelock") as reader:
        assert [row.wave for row in reader.waves()] == [0, 1, 2]
        assert reader.head["ended"] == "stopped"


def test_abandoning_finishes_the_file_and_nothing_else(load: Load, tmp_path: Path) -> None:
    profile = load('[record]\nfile = "x.wavelock"\n', ticks=helpers.TICKS)
    with Runtime(profile) as runtime:
        runtime.run(2)
        runtime.abandon()
        runtime.abandon()
        with RunFileReader(tmp_path / "x.wavelock") as reader:
            assert reader.head["ended"] == "stopped"
        with pytest.raises(UserError, match="this run is closed"):
            runtime.step()


def test_a_runtime_that_cannot_be_made_leaves_no_file(load: Load, tmp_path: Path) -> None:
    profile = load('[record]\nfile = "x.wavelock"\n', bad="(module)")
    with pytest.raises(ProfileError, match=r"agents\[0\].module"):
        Runtime(profile)
    assert not (tmp_path / "x.wavelock").exists()


def test_no_thread_is_left_behind(load: Load) -> None:
    before = threading.active_count()
    profile = load('[workers]\nuse = "threads"\ncount = 3\n[record]\nfile = "x.wavelock"\n', hello=helpers.HELLO)
    with Runtime(profile) as runtime:
        runtime.run()
        assert threading.active_count() == before + 4
    assert threading.active_count() == before


# ---- over anyio ----


@pytest.fixture(params=["asyncio", "trio"])
def backend(request: pytest.FixtureRequest) -> str:
    """Both of anyio's backends."""
    name: str = request.param
    pytest.importorskip(name)
    return name


def test_async_run(load: Load, backend: str) -> None:
    profile = load("[run]\nwaves = 3\n", ticks=helpers.TICKS)

    async def main() -> None:
        async with AsyncRuntime(profile, record=False) as run:
            assert (await run.run(1)).waves == 1
            result = await run.run()
            assert (result.ended, result.waves) == ("waves", 3)
            assert [output.text for output in run.runtime.outputs()] == ["tick"] * 3
        with pytest.raises(UserError, match="this run is closed"):
            await run.step()

    anyio.run(main, backend=backend)


def test_async_waves_are_the_waves(load: Load, backend: str) -> None:
    profile = load("[run]\nwaves = 3\n", ticks=helpers.TICKS)
    with Runtime(profile, record=False) as runtime:
        expected = [wave.digest for wave in iter(runtime.step, None)]
    digests: list[str] = []

    async def main() -> None:
        async with AsyncRuntime(profile, record=False) as run:
            digests.extend([wave.digest async for wave in run.waves()])

    anyio.run(main, backend=backend)
    assert digests == expected


def test_async_beside_other_tasks(load: Load, backend: str) -> None:
    """Another task posts while waves run, and ends the run when its answer has come."""
    profile = load(ticks=helpers.TICKS, echo=helpers.echoes())

    async def main() -> None:
        async with AsyncRuntime(profile, record=False) as run, anyio.create_task_group() as tasks:

            async def client() -> None:
                run.runtime.post("echo", b"hi")

            tasks.start_soon(client)
            async for wave in run.waves():
                if any(output.payload == b"hi" for output in wave.outputs):
                    run.runtime.stop()
        assert run.runtime.result.ended == "stopped"

    anyio.run(main, backend=backend)


def test_a_cancelled_async_run_is_closed(load: Load, backend: str, tmp_path: Path) -> None:
    profile = load('[record]\nfile = "x.wavelock"\n', ticks=helpers.TICKS)

    async def main() -> None:
        with anyio.CancelScope() as scope:
            async with AsyncRuntime(profile) as run:
                await run.step()
                scope.cancel()
                await run.run()
        assert scope.cancelled_caught

    anyio.run(main, backend=backend)
    with RunFileReader(tmp_path / "x.wavelock") as reader:
        waves = [row.wave for row in reader.waves()]
        assert waves == list(range(len(waves)))
        assert 1 <= len(waves) <= 2
        assert reader.head["ended"] == "stopped"


def test_an_async_runtime_is_entered_first(load: Load) -> None:
    run = AsyncRuntime(load(hello=helpers.HELLO))
    with pytest.raises(RuntimeError, match="enter the AsyncRuntime first"):
        _ = run.runtime


def test_an_async_runtime_that_cannot_be_made(load: Load, backend: str) -> None:
    profile = load(bad="(module)")

    async def main() -> None:
        with pytest.raises(ProfileError):
            async with AsyncRuntime(profile):
                raise AssertionError("not entered")

    anyio.run(main, backend=backend)


def test_outputs_are_bounded_in_bytes(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wavelock.core.runtime.OUTPUT_BYTES", 10)
    with Runtime(load("[run]\nwaves = 5\n", ticks=helpers.TICKS), record=False) as runtime:
        runtime.run()
        assert [output.payload for output in runtime.outputs()] == [b"tick", b"tick"]
        assert runtime.outputs() == []


def test_an_observer_cannot_step_or_close_the_run(load: Load) -> None:
    refused: list[str] = []

    class Meddler:
        runtime: Runtime

        @hookimpl
        def wavelock_wave_committed(self, wave: WaveCommitted) -> None:
            for meddle in (self.runtime.step, self.runtime.close):
                with pytest.raises(UserError) as caught:
                    meddle()
                refused.append(str(caught.value))

    meddler = Meddler()
    with Runtime(load("[run]\nwaves = 1\n", ticks=helpers.TICKS), record=False, observers=[meddler]) as runtime:
        meddler.runtime = runtime
        assert runtime.run().waves == 1
    assert refused == [
        "a wave of this run is in progress already: one thread steps, and no observer does",
        "a run cannot be closed from within its own wave; stop() ends it after the wave",
    ]


def test_a_close_waits_for_the_wave_of_another_thread(load: Load) -> None:
    inside, go_on = threading.Event(), threading.Event()

    class Slow:
        @hookimpl
        def wavelock_wave_committed(self, wave: WaveCommitted) -> None:
            inside.set()
            go_on.wait()

    runtime = Runtime(load(ticks=helpers.TICKS), record=False, observers=[Slow()])
    stepping = threading.Thread(target=runtime.step)
    stepping.start()
    inside.wait()
    closing = threading.Thread(target=runtime.close)
    closing.start()
    assert closing.is_alive()
    go_on.set()
    stepping.join()
    closing.join()
    assert runtime.result.waves == 1


@pytest.mark.parametrize("name", ["ticks/00", "ticks/", "ticks/\u0660", "ticks/" + "9" * 5000, "ticks/1"])
def test_names_that_no_agent_has(load: Load, name: str) -> None:
    with (
        Runtime(load(ticks=helpers.TICKS), record=False) as runtime,
        pytest.raises(UserError, match="no agent is named"),
    ):
        runtime.post(name, b"")
