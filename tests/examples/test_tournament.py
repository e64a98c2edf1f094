"""The tournament example against the axelrod package, with and without those who do not play fair."""

from __future__ import annotations

import importlib.util
import itertools
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import wavelock
from wavelock.core.abi import Outbound, frame

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "tournament"
PROFILE = EXAMPLE / "profile.toml"
EXPECTED: dict[str, Any] = json.loads((EXAMPLE / "expected.json").read_text("utf-8"))
ROUNDS = 200
THREE = "defector prober tit_for_tat"
TOSSERS = {"random", "joss", "generous_tit_for_tat"}
FAULTS = {"loops_forever": ("fuel", 50), "eats_memory": ("memory", 100), "writes_garbage": ("malformed outbox", 150)}
"""Hostile bots: how each faults, and in which round."""

Scores = Mapping[tuple[str, str], tuple[int, int]]


class Played(NamedTuple):
    result: wavelock.RunEnded
    state: dict[str, str]
    printed: list[str]
    faults: list[wavelock.AgentFault]
    logs: list[str]

    def under(self, prefix: str) -> dict[str, str]:
        return {key.removeprefix(prefix): text for key, text in self.state.items() if key.startswith(prefix)}

    @property
    def scores(self) -> Scores:
        """Scores of both, by pair, names in the alphabet's order."""
        found = {}
        for key, text in self.under("scores/").items():
            one, other = zip(key.split("/"), map(int, text.split()), strict=True)
            (a, points_a), (b, points_b) = sorted([one, other])
            found[a, b] = (points_a, points_b)
        return found


def play(profile: wavelock.Profile) -> Played:
    logs: list[str] = []
    with wavelock.Runtime(profile, record=False) as runtime:
        while (wave := runtime.step()) is not None:
            logs += [line.text for line in wave.logs]
        state = {key.decode(): text.decode() for key, text in runtime.state().items()}
        printed = [output.payload.decode() for output in runtime.outputs()]
        return Played(runtime.result, state, printed, runtime.faults(), logs)


def play_example(*settings: str) -> Played:
    return play(wavelock.load_profile(PROFILE, settings))


def roster() -> list[str]:
    config = wavelock.load_profile(PROFILE).agents[0].config
    assert isinstance(config, str)
    return config.split()


def fair_roster() -> list[str]:
    return [name for name in roster() if name not in FAULTS]


def pairs(names: list[str]) -> set[tuple[str, str]]:
    return set(itertools.combinations(sorted(names), 2))


@pytest.fixture(scope="module")
def played() -> Played:
    return play_example()


def test_every_pair_without_coins_scores_as_in_axelrod(played: Played) -> None:
    assert EXPECTED["rounds"] == ROUNDS
    assert set(EXPECTED["strategies"]) == set(fair_roster()) - TOSSERS
    wanted = {tuple(pair.split("/")): tuple(scores) for pair, scores in EXPECTED["scores"].items()}
    assert wanted.keys() == pairs(list(EXPECTED["strategies"]))
    assert {pair: played.scores[pair] for pair in wanted} == wanted


@pytest.mark.skipif(importlib.util.find_spec("axelrod") is None, reason="axelrod is not installed")
def test_the_expected_scores_are_what_axelrod_says() -> None:
    # In a process of its own, for axelrod warns when it is imported.
    command = [sys.executable, "-W", "ignore", str(EXAMPLE / "expected.py"), "--check"]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert checked.stdout.startswith(f"{len(EXPECTED['scores'])} pairs as in axelrod")


def test_every_two_fair_bots_play_every_round(played: Played) -> None:
    names = fair_roster()
    assert played.scores.keys() == pairs(names)
    standings = {name: list(map(int, text.split())) for name, text in played.under("standings/").items()}
    assert standings.keys() == set(names)
    assert {rounds for _, _, rounds, _, _ in standings.values()} == {ROUNDS * (len(names) - 1)}


def test_standings_add_up(played: Played) -> None:
    for name, text in played.under("standings/").items():
        own = [scores if pair[0] == name else scores[::-1] for pair, scores in played.scores.items() if name in pair]
        _, points, _, wins, _ = map(int, text.split())
        assert (points, wins) == (sum(mine for mine, _ in own), sum(mine > theirs for mine, theirs in own))
    cooperations = {name: int(text.split()[-1]) for name, text in played.under("standings/").items()}
    assert cooperations["cooperator"] == ROUNDS * (len(fair_roster()) - 1)
    assert cooperations["defector"] == cooperations["forges_messages"] == 0


def test_the_table_shows_the_standings_in_order(played: Played) -> None:
    standings = {name: list(map(int, text.split())) for name, text in played.under("standings/").items()}
    order = sorted(standings, key=lambda name: (-standings[name][1], name))
    title, head, *rows = played.printed
    assert title == "406 matches of 200 rounds between 29 bots; 3 forfeited"
    assert head.split() == ["#", "bot", "points", "per", "round", "wins", "cooperation"]
    for place, (name, row) in enumerate(zip(order, rows, strict=False), 1):
        rank, points, rounds, wins, cooperations = standings[name]
        ratios = [f"{(200 * part + rounds) // (2 * rounds) / 100:.2f}" for part in (points, cooperations)]
        assert rank == place
        assert row.split() == [str(place), name, str(points), ratios[0], str(wins), ratios[1]]
        assert len(row) == len(head)
    out = [row.split()[:3] for row in rows[len(order) :]]
    assert out == [["-", name, "0"] for name in sorted(FAULTS)]


def test_those_who_do_not_play_fair_fault_each_in_its_way(played: Played) -> None:
    # A question of round r, counted from 1, reaches the bots in wave 2r - 1.
    wanted = {(f"{name}/0", kind, 2 * number - 1) for name, (kind, number) in FAULTS.items()}
    assert {(fault.agent, fault.kind, fault.wave) for fault in played.faults} == wanted
    assert played.result.faults == len(played.faults) == len(FAULTS)
    forfeits = {name: f"{number} ended by the runtime" for name, (_, number) in FAULTS.items()}
    assert played.under("forfeits/") == forfeits


def test_those_who_do_not_play_fair_change_no_score(played: Played) -> None:
    among_themselves = play_example(f"agents.referee.config={' '.join(fair_roster()[:-1])}")
    assert "forges_messages" not in among_themselves.state
    assert among_themselves.under("forfeits/") == {}
    assert among_themselves.scores == {
        pair: scores for pair, scores in played.scores.items() if "forges_messages" not in pair
    }


def test_the_seed_tosses_the_coins_and_does_nothing_else(played: Played) -> None:
    other = play_example("run.seed=8")
    assert other.result.digest != played.result.digest
    assert other.scores.keys() == played.scores.keys()
    different = {pair for pair in other.scores if other.scores[pair] != played.scores[pair]}
    assert different
    assert all(TOSSERS & set(pair) for pair in different)
    assert set(itertools.chain(*different)) >= TOSSERS


def test_coins_fall_as_often_as_they_should(played: Played) -> None:
    """Within five standard deviations, of 200 tosses each."""

    def cooperations(tosser: str, other: str) -> int:
        pair = (min(tosser, other), max(tosser, other))
        points = played.scores[pair][pair.index(other)]
        # What the other earns tells: a cooperator 3 for each cooperation, a defector 5 for one and 1 for none.
        return points // 3 if other == "cooperator" else (points - ROUNDS) // 4

    assert abs(cooperations("random", "cooperator") - 100) <= 35
    assert abs(cooperations("random", "defector") - 100) <= 35
    assert abs(cooperations("joss", "cooperator") - 180) <= 21
    assert cooperations("joss", "defector") == 1
    assert abs(cooperations("generous_tit_for_tat", "defector") - 67) <= 33
    assert cooperations("generous_tit_for_tat", "cooperator") == ROUNDS


@pytest.mark.parametrize("workers", [("inline", 1), ("threads", 1), ("threads", 3)], ids=str)
def test_workers_do_not_show(played: Played, workers: tuple[str, int]) -> None:
    again = play_example(f"workers.use={workers[0]}", f"workers.count={workers[1]}")
    assert again == played


# ---- bots that the folder does not have ----


def module(path: Path, outbox: bytes) -> Path:
    """A module that ends every turn with this outbox."""
    data = "".join(f"\\{byte:02x}" for byte in outbox)
    record = "".join(f"\\{byte:02x}" for number in (1, 65536, 65536, 64, 1024) for byte in number.to_bytes(4, "little"))
    path.write_text(f"""(module
      (memory (export "memory") 2)
      (data (i32.const 8) "{record}")
      (data (i32.const 64) "{data}")
      (func (export "wavelock_abi") (result i32) (i32.const 8))
      (func (export "wavelock_turn") (param i32) (result i32) (i32.const {len(outbox)})))
    """)
    return path


def profile_with(
    own: Mapping[str, tuple[Path, int]], config: str, own_first: bool = False, inbox: str = "64 KiB"
) -> wavelock.Profile:
    """The example's referee and some of its bots, and others. own: their modules and counts, by group."""
    limits = f'[run]\nwaves = 450\n[limits]\nmemory = "2 MiB"\noutbox = "1 KiB"\ninbox = "{inbox}"\n'
    groups = {"referee": ("referee.wasm", 1), **{name: (f"bots/{name}.wasm", 1) for name in THREE.split()}}
    others = {name: (path.as_posix(), count) for name, (path, count) in own.items()}
    groups = {**others, **groups} if own_first else {**groups, **others}
    text = limits + "".join(
        f'[[agents]]\nname = "{name}"\nmodule = "{path}"\ncount = {count}\n' for name, (path, count) in groups.items()
    )
    more = 'grants = {state = ["scores/", "standings/", "forfeits/"]}\n'
    more += f'config = "{config}"\nlimits = {{memory = "16 MiB", inbox = "128 KiB", outbox = "256 KiB"}}\n'
    text = text.replace('module = "referee.wasm"\n', f'module = "referee.wasm"\n{more}')
    return wavelock.parse_profile(text, base=EXAMPLE)


def expected_three() -> Scores:
    return {pair: tuple(EXPECTED["scores"]["/".join(pair)]) for pair in pairs(THREE.split())}


@pytest.mark.parametrize(
    ("outbox", "why"),
    [
        (b"", "1 did not answer"),
        (frame(Outbound.SEND, 0, 0, b"x"), "1 answered nonsense"),
        (frame(Outbound.SEND, 0, 0, b"DDDX"), "2 did not answer"),
        (frame(Outbound.SEND, 0, 0, b"DXD-"), "1 answered nonsense"),
        (frame(Outbound.SEND, 0, 1, b"DDD-"), "1 did not answer"),
        (frame(Outbound.EXIT, 0, 0, bytes(4)), "1 ended by the runtime"),
    ],
    ids=["silent", "short", "stuck in round 1", "neither C nor D", "too early", "gone"],
)
def test_who_does_not_answer_as_asked_is_out(tmp_path: Path, outbox: bytes, why: str) -> None:
    odd = module(tmp_path / "odd.wat", outbox)
    ended = play(profile_with({"odd": (odd, 1)}, f"{THREE} odd"))
    assert ended.under("forfeits/") == {"odd": why}
    assert ended.scores == expected_three()
    assert ended.printed[-1].split() == ["-", "odd", "0", "out", "in", "round", why[0] + ":", *why[2:].split()]
    assert not ended.faults


def flooded(folder: Path, victim: int, inbox: str) -> Played:
    """As many others as there may be beside three bots, all filling their outbox for one agent in every wave."""
    again = frame(Outbound.YIELD, 0, 0, b"")
    drop = frame(Outbound.SEND, 60 + victim, 0, b"")
    flood = module(folder / "flood.wat", again + drop * ((1024 - len(again)) // len(drop)))
    return play(profile_with({"flood": (flood, 60)}, THREE, own_first=True, inbox=inbox))


@pytest.mark.parametrize("victim", [0, 2], ids=["the referee", "prober"])
def test_a_flood_makes_nobody_late(tmp_path: Path, victim: int) -> None:
    ended = flooded(tmp_path, victim, "64 KiB")
    assert ended.scores == expected_three()
    assert ended.under("forfeits/") == {}


def test_an_inbox_too_small_for_a_flood_makes_its_owner_late(tmp_path: Path) -> None:
    """Why the example bounds outboxes as it does."""
    assert flooded(tmp_path, 2, "16 KiB").under("forfeits/") == {"prober": "1 did not answer"}


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        ("", "the configuration must name two bots or more"),
        ("defector", "the configuration must name two bots or more"),
        (f"{THREE} nobody", "no group of agents has the name nobody"),
        (f"{THREE} many", "a bot is one agent, not a group of several: many"),
        ("defector " * 65, "too many bots: SLOTS in game.h is the limit"),
    ],
    ids=["none", "one", "unknown", "group", "too many"],
)
def test_a_roster_that_cannot_be_played_is_refused(tmp_path: Path, config: str, complaint: str) -> None:
    many = module(tmp_path / "many.wat", b"")
    ended = play(profile_with({"many": (many, 2)}, config))
    assert complaint in ended.logs
    assert (ended.state, ended.printed) == ({}, [])


# ---- the folder ----


def test_every_bot_of_the_folder_plays() -> None:
    names = sorted(path.stem for path in (EXAMPLE / "bots").glob("*.c"))
    assert sorted(roster()) == names
    assert sorted(group.name for group in wavelock.load_profile(PROFILE).agents[1:]) == names
    assert len(EXPECTED["strategies"]) >= 14


@pytest.mark.parametrize("source", ["referee.c", *(f"bots/{name}.c" for name in roster())])
def test_the_modules_are_what_the_sources_make(source: str, tmp_path: Path) -> None:
    pytest.importorskip("ziglang")
    made = tmp_path / "made.wasm"
    command = [sys.executable, "-m", "ziglang", "cc", "-target", "wasm32-freestanding", "-O2", "-nostdlib"]
    command += ["-Wl,--no-entry", "-Wl,--strip-all", "-Wall", "-Wextra", "-Werror", "-I", "guests/c"]
    subprocess.run([*command, f"examples/tournament/{source}", "-o", str(made)], cwd=ROOT, check=True)
    assert made.read_bytes() == (EXAMPLE / source).with_suffix(".wasm").read_bytes()


def test_the_readme_shows_the_bot_that_is_there() -> None:
    readme = (EXAMPLE / "README.md").read_text("utf-8")
    assert f"```c\n{(EXAMPLE / 'bots' / 'tit_for_tat.c').read_text('utf-8')}```" in readme


def test_the_readme_shows_the_table_that_comes(played: Played) -> None:
    readme = (EXAMPLE / "README.md").read_text("utf-8")
    _, _, shown = readme.partition("406 matches of")
    lines = [line for line in ("406 matches of" + shown.partition("```")[0]).splitlines() if line.strip() != "..."]
    assert len(lines) > 10
    assert [line for line in played.printed if line in lines] == lines
