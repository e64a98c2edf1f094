"""What the pages say is what the code does: their programs run, their links lead somewhere, their tables are whole."""

from __future__ import annotations

import importlib
import inspect
import json
import re
import subprocess
import sys
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

import pytest

import wavelock
from wavelock import Runtime, load_profile
from wavelock.cli import report
from wavelock.cli.app import run_command
from wavelock.core import abi, errors
from wavelock.core.profile_reader import read_toml
from wavelock.plugins.manager import Registry

ROOT = Path(__file__).parents[2]
FAMILY_FOLDERS = ("models", "schedulers", "transports", "wasm_engines", "workers")
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


class Block(NamedTuple):
    """A fenced block. file: the name in back-quotes before the colon that introduces it, or empty."""

    language: str
    file: str
    text: str


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(name: str) -> list[Block]:
    found = []
    text = page(name)
    for fence in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        label = re.search(r"`([\w./-]+)`:\s*\Z", text[: fence.start()])
        found.append(Block(fence[1], label[1] if label else "", fence[2]))
    return found


def section(name: str, heading: str) -> str:
    """A page from a heading to the next one of the same depth or less."""
    depth = len(heading.split(maxsplit=1)[0])
    found = re.search(rf"^{re.escape(heading)}\n(.*?)(?=^#{{1,{depth}}} |\Z)", page(name), re.MULTILINE | re.DOTALL)
    assert found, f"{name} has no {heading!r}"
    return found[1]


def write_files(folder: Path, *names: str) -> None:
    for name in names:
        for block in blocks(name):
            if block.file:
                path = folder / block.file
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(block.text, encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files of the pages in it, as the working folder, its plugins importable."""
    write_files(tmp_path, "docs/guests.md", "docs/python.md", "docs/plugins.md")
    monkeypatch.chdir(tmp_path)
    for plugin in ("wavelock_shuffled", "wavelock_census"):
        monkeypatch.syspath_prepend(tmp_path / plugin.replace("_", "-"))
        sys.modules.pop(plugin, None)
    return tmp_path


@pytest.mark.parametrize("name", ["abi", "determinism", "plugins", "python"])
@pytest.mark.usefixtures("folder")
def test_the_python_examples_run(name: str) -> None:
    programs = [block for block in blocks(f"docs/{name}.md") if block.language == "python" and not block.file]
    assert programs
    names: dict[str, object] = {"__name__": "example"}
    for program in programs:
        exec(compile(program.text, f"docs/{name}.md", "exec"), names)


def test_every_python_example_asserts_something() -> None:
    for name in ("abi", "determinism", "python"):
        programs = [block.text for block in blocks(f"docs/{name}.md") if block.language == "python"]
        assert all("assert " in program for program in programs)


def install(folder: Path, project: Path) -> None:
    """What `pip install` leaves behind of a project with one module: metadata beside it."""
    tables = read_toml((project / "pyproject.toml").read_text(), "pyproject.toml")
    name, version = tables["project"]["name"], tables["project"]["version"]
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = [f"{key} = {value}" for key, value in tables["project"]["entry-points"]["wavelock"].items()]
    (info / "entry_points.txt").write_text("[wavelock]\n" + "\n".join(lines) + "\n")


def test_the_package_is_discovered_and_plans_the_same_run_twice(folder: Path) -> None:
    install(folder / "wavelock-shuffled", folder / "wavelock-shuffled")
    importlib.invalidate_caches()
    listed = {(item.family, item.name): item for item in Registry().listed()}
    assert listed["scheduler", "shuffled"].distribution == "wavelock-shuffled 0.1"

    def digest(salt: int) -> str:
        choice = f'scheduler={{use = "shuffled", salt = {salt}}}'
        with Runtime(load_profile("profile.toml", [choice, "agents.echo.count=9"]), record=False) as runtime:
            return runtime.run().digest

    assert digest(3) == digest(3)
    assert digest(3) != digest(4)
    with pytest.raises(errors.ProfileError, match="did you mean"):
        load_profile("profile.toml", ['scheduler={use = "shuffled", sallt = 3}'])


def test_the_shuffled_orders_are_permutations_that_differ(folder: Path) -> None:
    import numpy as np

    module = importlib.import_module("wavelock_shuffled")
    scheduler = module.Shuffled(module.ShuffledSettings(salt=1))
    ready = np.arange(50, dtype=np.uint32)
    plans = [scheduler.plan(wave, ready).tolist() for wave in range(20)]
    assert all(sorted(plan) == ready.tolist() for plan in plans)
    assert len({tuple(plan) for plan in plans}) == 20


def test_the_observing_plugin_counts_faults(folder: Path) -> None:
    census = importlib.import_module("wavelock_census")
    Path("broken.wat").write_text(
        Path("echo.wat").read_text().replace("(local.set $in (i32.const 1056))", "unreachable")
    )
    profile = load_profile("profile.toml", ['agents.echo.module="broken.wat"', "agents.echo.count=3"])
    with Runtime(profile, record=False, observers=[census]) as runtime:
        runtime.run()
    assert census.KINDS == {"unreachable": 3}


# ---- agents ----


def test_the_text_agent_echoes_its_input(folder: Path) -> None:
    (profile,) = (block.text for block in blocks("docs/guests.md") if block.language == "toml")
    Path("echoing.toml").write_text(profile)
    Path("lines.txt").write_text("one\ntwo\n\nfour\n")
    with Runtime(load_profile("echoing.toml"), record=False) as runtime:
        runtime.run()
        assert [output.text for output in runtime.outputs()] == ["one", "two", "", "four"]
        assert not runtime.faults()


def test_the_c_agent_builds_and_counts(folder: Path) -> None:
    pytest.importorskip("ziglang")
    (command,) = (block.text for block in blocks("docs/guests.md") if block.language == "sh")
    arguments = command.replace("guests/c", str(ROOT / "guests" / "c")).split()[1:]
    subprocess.run([sys.executable, *arguments], check=True, timeout=300)
    with Runtime(load_profile("profile.toml", ['agents.echo.module="tally.wasm"']), record=False) as runtime:
        for _ in range(3):
            runtime.post("echo", b"x")
        runtime.run()
        assert [output.text for output in runtime.outputs()] == ["seen 3"]


# ---- links and tables ----


def slugs(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        found = (path.parent / file).resolve() if file else path
        assert found.exists(), f"{path.name}: {target}"
        if anchor and found.suffix == ".md":
            assert anchor in slugs(found.read_text(encoding="utf-8")), f"{path.name}: {target}"


@pytest.mark.parametrize(
    ("heading", "members"),
    [
        ("### What an agent receives", abi.Inbound),
        ("### What an agent writes", abi.Outbound),
        ("### Directory", abi.DirectoryKind),
        ("### Effects that are refused", abi.Reason),
        ("## Faults", abi.Fault),
    ],
)
def test_the_abi_page_has_every_number(heading: str, members: type[IntEnum]) -> None:
    text = section("docs/abi.md", heading)
    missing = [member.name for member in members if f"| {member.value} | {member.name} |" not in text]
    assert not missing


def test_the_abi_page_has_fault_labels_ends_and_flags() -> None:
    text = page("docs/abi.md")
    assert all(f"| `{fault.label}` |" in text for fault in abi.Fault if fault)
    assert all(f"{end.value} {end.name}" in text for end in abi.EndReason)
    assert all(f"{level} {name}" in text for level, name in enumerate(abi.LOG_LEVELS))
    assert all(name in text for name in abi.Flag.__members__)


def test_the_guests_page_has_every_function_of_the_header() -> None:
    header = (ROOT / "guests" / "c" / "wavelock.h").read_text()
    functions = re.findall(r"^static inline [^(]*?(wl_\w+)\(", header, re.MULTILINE)
    assert len(functions) > 30
    text = section("docs/guests.md", "### The header")
    assert not [name for name in functions if f"`{name}(" not in text]
    assert not [macro for macro in re.findall(r"^#define (WL_\w+)\(", header, re.MULTILINE) if f"`{macro}(" not in text]


def test_every_public_name_is_documented() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in PAGES)
    words = set(re.findall(r"`(\w+)", text))
    assert not [name for name in wavelock.__all__ if name not in words]


def test_the_python_page_has_every_public_method_and_field() -> None:
    text = page("docs/python.md")
    assert not [name for name in dir(Runtime) if not name.startswith("_") and f"`{name}" not in text]
    for kind in ("RunStarted", "WaveCommitted", "AgentFault", "Output", "LogLine", "RunEnded"):
        (row,) = re.findall(rf"^\| `{kind}` \|.*$", text, re.MULTILINE)
        assert not [field for field in getattr(wavelock, kind).__dataclass_fields__ if f"`{field}`" not in row]


def test_the_errors_page_has_every_class_and_exit_code() -> None:
    text = page("docs/errors.md")
    for name, kind in inspect.getmembers(errors, inspect.isclass):
        if issubclass(kind, errors.WavelockError):
            assert re.search(rf"^\| `{name}` \|.*\| {kind.exit_code} \|", text, re.MULTILINE), name
    codes = {value for name, value in vars(errors).items() if name.startswith("EXIT_")} | {report.EXIT_INTERRUPTED}
    table = section("docs/errors.md", "## Exit codes")
    assert not [code for code in codes if f"| {code} |" not in table]
    assert all(f"`{fault.label}`" in text for fault in abi.Fault if fault)


def test_the_errors_page_shows_what_check_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_files(tmp_path, "docs/errors.md")
    monkeypatch.chdir(tmp_path)
    shown = iter(block.text for block in blocks("docs/errors.md") if block.language == "text")
    assert run_command(["check", "bad.toml"]) == errors.EXIT_USER
    assert capsys.readouterr().err == next(shown)
    assert run_command(["check", "bad.toml", "--json"]) == errors.EXIT_USER
    printed = json.loads(capsys.readouterr().out)
    assert list(printed) == ["error", "kind", "problems", "exit_code"]
    assert (printed["kind"], printed["exit_code"], len(printed["problems"])) == ("ProfileError", 2, 5)


def test_the_tour_names_files_that_exist() -> None:
    text = page("ARCHITECTURE.md")
    folders = "core|plugins|cli|" + "|".join(FAMILY_FOLDERS)
    names = set(re.findall(r"`((?:src|tests|docs|guests|examples|benchmarks)/[\w./-]*)`", text))
    names |= {f"src/wavelock/{name}" for name in re.findall(rf"`((?:{folders})/[\w./-]*)`", text)}
    assert len(names) > 30
    assert not sorted(name for name in names if not (ROOT / name).exists())
