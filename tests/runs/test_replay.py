"""Replay: the same bits again from the file alone."""

from __future__ import annotations

import json
import shutil
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from wavelock import Registry, UserError, replay
from wavelock.core.errors import RunFileError

if TYPE_CHECKING:
    from runs.conftest import Kit

Command = Callable[..., tuple[int, str, str]]
BLOCKER = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"onnxruntime", "onnx"}:
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Blocker())
"""


@pytest.mark.parametrize("workers", ["", "inline", "threads:1", "threads:2", "threads:7"])
def test_a_run_replays_identical_with_any_workers(rich: Path, wavelock: Command, workers: str) -> None:
    code, output, _ = wavelock("replay", rich, *(["--workers", workers] if workers else []), "--json")
    found = json.loads(output)
    assert (code, found["identical"], found["first_divergence"]) == (0, True, None)
    assert (found["waves"], found["turns"], found["ended"]) == (12, 35, "quiet")
    assert len(found["digest"]) == 64


def test_what_the_recording_used_need_not_be_here(kit: Kit, rich: Path, wavelock: Command) -> None:
    """The digest depends on none of it. What is asked for by name is another matter."""
    raw = json.loads(kit.query(rich, "SELECT value FROM run WHERE key = 'profile'")[0][0])
    raw |= {"engine": {"use": "elsewhere", "own": 1}, "transport": {"use": "pigeons"}, "workers": {"use": "far"}}
    kit.change(rich, "UPDATE run SET value = ? WHERE key = 'profile'", json.dumps(raw))
    kit.rechecksum(rich, "run", ["key"])
    assert replay(rich).identical
    code, _, errors = wavelock("replay", rich, "--engine", "elsewhere")
    assert code == 2
    assert 'no engine plugin is named "elsewhere"' in errors


def test_a_replay_keeps_what_it_can_of_the_recordings_choices(kit: Kit) -> None:
    kit.write_rich()
    path = kit.run("run.wavelock", "workers.use=threads", "workers.count=2")
    raw = json.loads(kit.query(path, "SELECT value FROM run WHERE key = 'profile'")[0][0])
    del raw["workers"]["use"]
    raw["workers"]["count"] = 3
    kit.change(path, "UPDATE run SET value = ? WHERE key = 'profile'", json.dumps(raw))
    kit.rechecksum(path, "run", ["key"])
    with pytest.raises(UserError, match='"inline" is one worker, found 3'):
        replay(path)


def test_a_replay_says_so_in_words(rich: Path, wavelock: Command) -> None:
    code, output, errors = wavelock("replay", rich)
    assert (code, errors) == (0, "")
    assert output.startswith(f"{rich}: identical: 12 waves, 35 turns, digest ")


def test_a_replay_needs_no_profile_modules_inputs_or_models(kit: Kit) -> None:
    kit.write_rich()
    path = kit.run()
    for each in kit.folder.iterdir():
        if each != path:
            shutil.rmtree(each) if each.is_dir() else each.unlink()
    assert replay(path).identical
    assert [each.name for each in kit.folder.iterdir()] == ["run.wavelock"]


def test_a_run_with_a_model_replays_where_onnxruntime_is_not(kit: Kit) -> None:
    kit.write_model()
    kit.write_rich()
    code, output, _ = kit.finish("run", "profile.toml", "--record", "run.wavelock", "--json")
    assert code == 0
    path = kit.folder / "run.wavelock"
    answer = kit.query(path, "SELECT payload FROM inference WHERE request_wave = 0")[0][0]
    assert answer[-8:] == bytes.fromhex("0000004000008040")  # 2.0, 4.0
    away = kit.folder / "away"
    away.mkdir()
    (away / "sitecustomize.py").write_text(BLOCKER)
    for name in ("models", "profile.toml", "lines.txt", *(each.name for each in kit.folder.glob("*.wat"))):
        shutil.move(kit.folder / name, away / name)
    code, again, _ = kit.finish("replay", path, "--json", env={"PYTHONPATH": str(away)})
    assert code == 0
    assert json.loads(again)["identical"] is True
    assert json.loads(again)["digest"] == json.loads(output)["digest"]
    code, _, errors = kit.finish("run", away / "profile.toml", "--no-record", env={"PYTHONPATH": str(away)})
    assert code == 2  # the blocker blocks: the same run cannot be made there
    assert "onnx" in errors


def test_a_run_cut_by_its_bound_replays_to_it(kit: Kit, rich: Path) -> None:
    kit.write_rich()
    path = kit.run("run.wavelock", "run.waves=4")
    report = replay(path)
    assert (report.identical, report.waves, report.ended) == (True, 4, "waves")
    whole = dict(kit.query(rich, "SELECT wave, digest FROM waves"))
    assert dict(kit.query(path, "SELECT wave, digest FROM waves")) == {wave: whole[wave] for wave in range(4)}


def test_a_stopped_run_replays(kit: Kit) -> None:
    kit.write_rich()
    with kit.open() as runtime:
        runtime.run(waves=3)
        runtime.stop()
        assert runtime.run().ended == "stopped"
    report = replay(kit.folder / "run.wavelock")
    assert (report.identical, report.waves, report.ended) == (True, 3, "stopped")


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT to a child")
def test_an_interrupted_run_replays(kit: Kit) -> None:
    kit.write_one(kit.agent(last=kit.say("tick") + kit.YIELD, entropy=True))
    with kit.command("run", "profile.toml", "--record", "run.wavelock") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        lines = [process.stdout.readline() for _ in range(20)]
        process.send_signal(signal.SIGINT)
        lines += process.stdout.readlines()
        errors = process.stderr.read()
    assert process.returncode == 0
    assert "stopping after this wave" in errors
    assert "Traceback" not in errors
    report = replay(kit.folder / "run.wavelock")
    assert (report.identical, report.ended) == (True, "stopped")
    assert len(lines) == 2 * report.waves >= 20


def test_the_digest_does_not_follow_pythons_hash_seed_and_does_follow_the_runs(kit: Kit) -> None:
    kit.write_one(kit.agent([kit.say("x") + kit.put("k", b"v") + kit.YIELD] * 4, entropy=True), count=3)
    digests = []
    for seed in ("0", "1", "2", "77", "4294967295"):
        code, output, _ = kit.finish("run", "profile.toml", "--no-record", "--json", env={"PYTHONHASHSEED": seed})
        assert code == 0
        digests.append(json.loads(output)["digest"])
    assert len(set(digests)) == 1
    with kit.open(None, "run.seed=1") as runtime:
        assert runtime.run().digest not in digests


def test_posts_are_journalled_and_replay(kit: Kit) -> None:
    kit.write_one(kit.agent(echo=True, entropy=True), count=3)
    with kit.open() as runtime:
        runtime.run()

        def post() -> None:
            for number in (2, 0, 1, 2):
                runtime.post(f"a/{number}", b"%d" % number, number)

        poster = threading.Thread(target=post)
        poster.start()
        poster.join()
        result = runtime.run()
    path = kit.folder / "run.wavelock"
    rows = kit.query(path, "SELECT wave, position, agent, tag, stream, payload FROM inputs")
    assert rows == [(1, 0, 2, 2, "", b"2"), (1, 1, 0, 0, "", b"0"), (1, 2, 1, 1, "", b"1"), (1, 3, 2, 2, "", b"2")]
    report = replay(path)
    assert (report.identical, report.digest) == (True, result.digest)


def test_nothing_can_be_posted_into_the_bits_of_a_run(kit: Kit) -> None:
    kit.write_one(kit.agent(echo=True))
    with kit.open() as runtime:
        runtime.run()
        runtime.post("a", b"x", 3)
        runtime.run()
    path = kit.folder / "run.wavelock"
    kit.change(path, "DELETE FROM inputs")
    report = replay(path)
    assert not report.identical
    assert report.first_divergence is not None
    assert report.first_divergence.wave == 1


def test_a_replay_tells_how_far_it_is(rich: Path) -> None:
    told: list[tuple[int, int]] = []
    assert replay(rich, on_wave=lambda done, last: told.append((done, last))).identical
    assert told == [(done, 11) for done in range(1, 13)]


def test_a_profile_that_cannot_be_used_here_is_the_users_to_mend(kit: Kit, rich: Path, wavelock: Command) -> None:
    with pytest.raises(UserError, match=r'the recorded profile: .*no engine plugin is named "nosuch"'):
        replay(rich, settings=['engine.use="nosuch"'])
    code, _, errors = wavelock("replay", rich, "--engine", "nosuch")
    assert code == 2
    assert "nosuch" in errors
    with pytest.raises(UserError, match=r"no engine plugin"):
        replay(rich, Registry([]))


def test_an_override_that_agents_notice_is_not_identical(rich: Path) -> None:
    report = replay(rich, settings=["run.seed=8"])
    assert not report.identical
    assert "an override that agents notice" in str(report.first_divergence)


def test_a_file_without_a_wave_has_nothing_to_replay(kit: Kit) -> None:
    kit.write_rich()
    with kit.open():
        pass
    with pytest.raises(RunFileError, match=r"holds no committed wave; there is nothing to replay"):
        replay(kit.folder / "run.wavelock")
