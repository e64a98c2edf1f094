"""What is wrong with a profile: each thing in its words, and all of it in one go."""

# ruff: noqa: E501 - a row of the table reads best on one line

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wavelock import Profile, ProfileError, Registry
from wavelock.core.profile import AgentLimits, LimitsSection
from wavelock.core.profile_reader import build_profile

AGENT = '[[agents]]\nname = "a"\nmodule = "a.wat"\n'
Refused = Callable[..., list[str]]

MODEL = '[[models]]\nname = "m"\nrepository = "models"\n'
STREAM = '[[inputs]]\nname = "i"\nfiles = ["data/a.txt"]\nto = ["a"]\n'
ONE_PROBLEM = [
    ("", "agents: a run needs at least one agent: add [[agents]] with name and module (count above 0)"),
    (AGENT + "count = 0", "agents: a run needs at least one agent: add [[agents]] with name and module (count above 0)"),
    ("[rnu]\n" + AGENT, 'rnu: unknown section; did you mean "run"?'),
    ("[[agent]]\n" + AGENT, 'agent: unknown section; did you mean "agents"?'),
    ("[run]\nsed = 1\n" + AGENT, 'run.sed: unknown key; did you mean "seed"?'),
    ("[run]\nzzz = 1\n" + AGENT, "run.zzz: unknown key; allowed: name, seed, wave_ns, waves"),
    (AGENT + "[agents.grants]\nmodel = []", 'agents[0].grants.model: unknown key; did you mean "models"?'),
    (AGENT + "[agents.limits]\nstack = 1", "agents[0].limits.stack: unknown key; allowed: denied, fuel_per_turn, inbox, "
     "mailbox, mailbox_frames, memory, message, outbox, overflow, restarts, timers, watches"),
    ("[[agents]]\nmodule = 'a.wat'", "agents[0].name: is required and missing"),
    ("[[agents]]\nname = 'a'", "agents[0].module: is required and missing"),
    (AGENT + '[[models]]\nname = "m"', "models[0].repository: is required and missing"),
    (AGENT + '[[inputs]]\nname = "i"\nto = ["a"]', "inputs[0].files: is required and missing"),
    (AGENT.replace('"a"', '"9 a"'), "agents[0].name: expected text matching regex '^[A-Za-z][A-Za-z0-9_.-]{0,63}$', "
     "found 9 a"),
    # ranges
    ("[run]\nseed = 18446744073709551616\n" + AGENT, "run.seed: expected 0 to 2^64 - 1, found 18446744073709551616"),
    (f"[run]\nseed = 0x{'f' * 5000}\n" + AGENT, "run.seed: expected 0 to 2^64 - 1, found a very large number"),
    ("[run]\nseed = -1\n" + AGENT, "run.seed: expected a whole number >= 0, found -1"),
    ("[run]\nwaves = 0\n" + AGENT, "run.waves: expected a whole number >= 1, found 0"),
    ('[limits]\nmemory = "5 GiB"\n' + AGENT, "limits.memory: 5368709120 bytes are past 4 GiB, a 32-bit memory's end"),
    (AGENT + "limits.memory = 4294967297", "agents[0].limits.memory: 4294967297 bytes are past 4 GiB, a 32-bit memory's "
     "end"),
    ("[limits]\nmemory = -1\n" + AGENT, "limits.memory: expected 0 to 2^64 - 1, found -1"),
    ('[limits]\nstack = "15 KiB"\n' + AGENT, "limits.stack: 15360 bytes; expected 16 KiB to 1 MiB"),
    ('[limits]\nstack = "5 MiB"\n' + AGENT, "limits.stack: 5242880 bytes; expected 16 KiB to 1 MiB"),
    ("[limits]\ninbox = 63\n" + AGENT, "limits.inbox: 63 bytes hold no frame; at least 64 are needed"),
    (AGENT + "limits.mailbox = 31", "agents[0].limits.mailbox: 31 bytes hold no frame; at least 32 are needed"),
    ('[limits]\noutbox = "2 GiB"\n' + AGENT, "limits.outbox: 2147483648 bytes are past 1 GiB"),
    ("[limits]\nagents = 2\n" + AGENT + "count = 3", "agents: 3 agents are more than limits.agents = 2; raise that "
     "limit"),
    ("[workers]\ncount = 0\n" + AGENT, "workers.count: expected a whole number >= 1, found 0"),
    ("[limits]\nfuel_per_turn = 99999999999999999999\n" + AGENT, "limits.fuel_per_turn: expected a whole number <= "
     "9007199254740992, found 99999999999999999999"),
    # units
    ('[limits]\nmemory = "1 XB"\n' + AGENT, 'limits.memory: "1 XB" is not a quantity; expected one such as "64 KiB" '
     "(units: B, KiB, MiB, GiB, kB, MB, GB)"),
    ('[run]\nwave_ns = "1 day"\n' + AGENT, 'run.wave_ns: "1 day" is not a quantity; expected one such as "5 ms" (units: '
     "ns, us, µs, ms, s, min, h)"),
    # names
    (AGENT + AGENT, 'agents[1].name: "a" is taken by agents[0]; names must differ'),
    (AGENT + MODEL + MODEL, 'models[1].name: "m" is taken by models[0]; names must differ'),
    (AGENT + '[[topics]]\nname = "t"\n' * 2, 'topics[1].name: "t" is taken by topics[0]; names must differ'),
    (AGENT + STREAM + STREAM, 'inputs[1].name: "i" is taken by inputs[0]; names must differ'),
    (AGENT + 'after = ["b"]', 'agents[0].after: no group is named "b"; allowed: a'),
    (AGENT + 'grants.spawn = ["aa"]', 'agents[0].grants.spawn: no group is named "aa"; did you mean "a"?'),
    (AGENT + 'grants.models = ["n"]', 'agents[0].grants.models: no model is named "n"; none is defined'),
    (AGENT + 'grants.topics = ["n"]', 'agents[0].grants.topics: no topic is named "n"; none is defined'),
    (AGENT + '[[topics]]\nname = "t"\nsubscribers = ["b"]', 'topics[0].subscribers: no group is named "b"; allowed: a'),
    (AGENT + STREAM.replace('["a"]', '["b"]'), 'inputs[0].to: no group is named "b"; allowed: a'),
    (AGENT + 'after = ["*"]', 'agents[0].after: no group is named "*"; allowed: a'),
    # cycles
    (AGENT + 'after = ["a"]', "agents[0].after: a cycle: a after a; take one of these out"),
    (AGENT + 'after = ["c"]\n' + AGENT.replace('"a"', '"b"') + 'after = ["a"]\n' + AGENT.replace('"a"', '"c"')
     + 'after = ["b"]', "agents[0].after: a cycle: a after c after b after a; take one of these out"),
    # plugins
    ('[engine]\nuse = "wasmtim"\n' + AGENT, 'engine.use: no engine plugin is named "wasmtim"; did you mean "wasmtime"?'),
    ('[workers]\nuse = "ray"\n' + AGENT, 'workers.use: no workers plugin is named "ray"; allowed: inline, threads'),
    ("[scheduler]\nuse = 5\n" + AGENT, "scheduler.use: expected text, found a whole number"),
    ('[scheduler]\nuse = "dag"\nwidth = 1\n' + AGENT, "scheduler.width: unknown key; none is defined"),
    ("[scheduler]\nwidht = 1\n" + AGENT, 'scheduler.widht: unknown key; did you mean "width"?'),
    ('[scheduler]\nwidth = "x"\n' + AGENT, "scheduler.width: expected a whole number, found text"),
    ("[scheduler]\nsettings = {}\n" + AGENT, "scheduler.settings: unknown key; allowed: width"),
    ('[engine]\nmemory_layout = "dens"\n' + AGENT, 'engine.memory_layout: expected "auto" or "guarded" or "dense", found '
     '"dens"; did you mean "dense"?'),
    (AGENT + MODEL + 'backend = "onx"', 'models[0].backend: no model_backend plugin is named "onx"; did you mean "onnx"?'),
    # inputs
    (AGENT + STREAM + 'cut = "fixed"', 'inputs[0].record_bytes: is needed, above 0, for cut = "fixed"'),
    (AGENT + STREAM + "record_bytes = 1", 'inputs[0].record_bytes: is only for cut = "fixed", found cut = "lines"'),
    (AGENT + AGENT.replace('"a"', '"b"') + "count = 0\n" + STREAM.replace('["a"]', '["b"]'),
     "inputs[0].to: these groups have no agents at the start (count = 0)"),
    (AGENT + STREAM.replace('["a"]', "[]"), "inputs[0].to: expected an array of length >= 1, found []"),
    # configs
    (AGENT + "config = 5", "agents[0].config: expected text or a table, found a whole number"),
    (AGENT + "config = { d = 2026-01-01 }", "agents[0].config: has no JSON form: Object of type date is not JSON "
     "serializable; use text, numbers, arrays and tables"),
    (AGENT + "config = { x = [99999999999999999999] }", "agents[0].config: has no JSON form: 99999999999999999999 has "
     "more than 64 bits; use text, numbers, arrays and tables"),
]  # fmt: skip


def test_a_config_nested_too_deep(refused: Refused) -> None:
    (problem,) = refused(AGENT + "config" + ".a" * 5000 + " = 1")  # which reader notices depends on Python's version
    assert problem.endswith("nested too deep")


@pytest.mark.parametrize(("text", "problem"), ONE_PROBLEM, ids=[str(at) for at in range(len(ONE_PROBLEM))])
def test_one_problem(refused: Refused, text: str, problem: str) -> None:
    assert refused(text) == [problem]


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_a_config_without_a_json_form(refused: Refused, value: str) -> None:
    (problem,) = refused(AGENT + f"config = {{ x = {{ y = [{value}] }} }}")
    assert problem.startswith("agents[0].config: has no JSON form: Out of range float values")


TABLES = ("run", "engine", "scheduler", "transport", "workers", "limits", "record")
ARRAYS = ("models", "topics", "inputs")


@pytest.mark.parametrize("section", TABLES)
@pytest.mark.parametrize(("value", "found"), [("1", "a whole number"), ('"x"', "text"), ("[]", "an array")])
def test_a_table_that_is_none(refused: Refused, section: str, value: str, found: str) -> None:
    (problem,) = refused(f"{section} = {value}\n{AGENT}")
    assert problem.startswith(f"{section}: expected a table")
    assert problem.endswith(f"found {found}")


@pytest.mark.parametrize("section", ARRAYS)
@pytest.mark.parametrize(("value", "found"), [("1", "a whole number"), ('"x"', "text"), ("{}", "a table")])
def test_an_array_that_is_none(refused: Refused, section: str, value: str, found: str) -> None:
    expected = f"{section}: expected an array of tables, written [[{section}]], found {found}"
    assert refused(f"{section} = {value}\n{AGENT}") == [expected]


def test_agents_that_are_no_array(refused: Refused) -> None:
    text = 'agents = {}\n[[topics]]\nname = "t"\nsubscribers = ["a"]'
    assert refused(text) == ["agents: expected an array of tables, written [[agents]], found a table"]


@pytest.mark.parametrize("section", [*ARRAYS, "agents"])
def test_an_item_that_is_no_table(refused: Refused, section: str) -> None:
    text = f"{section} = [7]\n" + ("" if section == "agents" else AGENT)
    assert refused(text) == [f"{section}[0]: expected a table, found a whole number"]


KEYS = {
    "run": ("name", "seed", "waves", "wave_ns"),
    "limits": LimitsSection.__struct_fields__,
    "record": ("enabled", "file", "folder", "turns"),
    "workers": ("use", "count"),
}


@pytest.mark.parametrize(("section", "key"), [(section, key) for section, keys in KEYS.items() for key in keys])
def test_a_key_of_the_wrong_type(refused: Refused, section: str, key: str) -> None:
    (problem,) = refused(f"[{section}]\n{key} = [[]]\n{AGENT}")
    assert problem.startswith(f"{section}.{key}: expected ")
    assert problem.endswith("found an array")


ITEM_KEYS = {
    "agents": ("name", "module", "count", "config", "priority", "restart", "limits", "grants"),
    "models": ("name", "backend", "repository", "model", "version", "strict", "latency", "finite", "max_batch_rows"),
    "topics": ("name",),
    "inputs": ("name", "cut", "record_bytes", "deal", "per_wave"),
}


@pytest.mark.parametrize(("section", "key"), [(section, key) for section, keys in ITEM_KEYS.items() for key in keys])
def test_an_items_key_of_the_wrong_type(refused: Refused, section: str, key: str) -> None:
    problems = refused(f"[[{section}]]\n{key} = [[]]\n")
    found = [problem for problem in problems if problem.startswith(f"{section}[0].{key}: expected ")]
    assert len(found) == 1
    assert found[0].endswith("found an array")


@pytest.mark.parametrize("key", [*AgentLimits.__struct_fields__])
def test_a_groups_limit_of_the_wrong_type(refused: Refused, key: str) -> None:
    (problem,) = refused(AGENT + AGENT.replace('"a"', '"b"') + f"limits.{key} = {{}}")
    assert problem.startswith(f"agents[1].limits.{key}: expected ")
    assert problem.endswith("found a table")


@pytest.mark.parametrize("key", ["models", "topics", "state", "state_read", "spawn"])
def test_grants_of_the_wrong_type(refused: Refused, key: str) -> None:
    assert refused(AGENT + f'grants.{key} = "x"') == [f"agents[0].grants.{key}: expected an array, found text"]
    assert refused(AGENT + f"grants.{key} = [1]") == [f"agents[0].grants.{key}[0]: expected text, found a whole number"]


# ---- files that a profile names ----


@pytest.mark.parametrize("name", ["none.wat", ".", "models", "x" * 5000, "a\\u0000b"])
def test_a_module_that_is_not_there(refused: Refused, name: str) -> None:
    (problem,) = refused(AGENT.replace("a.wat", name))
    assert problem.startswith("agents[0].module: no such file: ")


@pytest.mark.parametrize("name", ["none", "a.wat", "x" * 5000])
def test_a_repository_that_is_not_there(refused: Refused, name: str) -> None:
    (problem,) = refused(AGENT + MODEL.replace('"models"', f'"{name}"'))
    assert problem.startswith("models[0].repository: no such folder: ")


@pytest.mark.parametrize("name", ["none.txt", "*.none", "data", "x" * 5000, "a\\u0000/*"])
def test_inputs_that_are_not_there(refused: Refused, name: str) -> None:
    (problem,) = refused(AGENT + STREAM.replace("data/a.txt", name))
    assert problem.startswith("inputs[0].files: nothing matches ")


def test_files_are_not_looked_for_on_a_replay(registry: Registry, tmp_path: Path) -> None:
    raw: dict[str, Any] = {
        "agents": [{"name": "a", "module": "gone.wasm"}],
        "models": [{"name": "m", "repository": "gone", "backend": "gone"}],
    }
    profile = build_profile(raw, "p", tmp_path, registry.settings, files=False)
    assert profile.models[0].backend == "gone"


# ---- all problems in one go ----


def test_ten_errors_are_ten_problems(refused: Refused) -> None:
    text = """
        speed = 1
        [run]
        seed = "x"
        nmae = "y"
        [engine]
        use = "v8"
        [limits]
        memory = "1 XB"
        [[topics]]
        name = "t"
        subscribers = ["nobody"]
        [[models]]
        name = "m"
        repository = "none"
        latency = 0
        [[agents]]
        name = "a"
        module = "none.wat"
        after = ["a"]
        [[agents]]
        name = "b"
        module = "a.wat"
        after = ["c"]
    """
    assert [problem.partition(":")[0] for problem in refused(text)] == [
        "speed",
        "run.nmae",
        "run.seed",
        "limits.memory",
        "models[0].latency",
        "engine.use",
        "agents[1].after",
        "topics[0].subscribers",
        "agents[0].after",
        "agents[0].module",
    ]


def test_a_broken_item_does_not_move_the_others(refused: Refused) -> None:
    text = (
        '[[agents]]\nname = "x"\nmodule = 3\n' + AGENT + 'after = ["x", "y"]\n[[agents]]\nname = "a"\nmodule = "a.wat"'
    )
    assert refused(text) == [
        "agents[0].module: expected text, found a whole number",
        'agents[2].name: "a" is taken by agents[1]; names must differ',
        'agents[1].after: no group is named "y"; allowed: a, a, x',
    ]


def test_the_error_lists_its_problems_line_by_line(parse: Callable[..., Profile]) -> None:
    with pytest.raises(ProfileError) as caught:
        parse("[run]\nseed = -1\nwaves = 0\n" + AGENT)
    assert str(caught.value) == (
        "p.toml: 2 problems\n"
        "  run.seed: expected a whole number >= 0, found -1\n"
        "  run.waves: expected a whole number >= 1, found 0"
    )
    assert caught.value.exit_code == 2
