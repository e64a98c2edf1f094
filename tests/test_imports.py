"""Who may import whom: read from the sources, so that an import inside a function counts too."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "wavelock"
FAMILIES = ("wasm_engines", "schedulers", "transports", "models", "workers")
INTERFACES = {("wavelock.workers", "wavelock.transports.interface")}
"""Workers hand out a transport's endpoints: they may know that interface, and nothing else of it."""
PEERS = SOURCE / "bench" / "peers"
"""Programs for environments without Wavelock: they import each other, relatively, and nothing else of it."""
KERNEL = ("kernel", "effects", "mailboxes", "population", "outbox", "digest", "store", "wave")
NOT_SANS_IO = {
    *("anyio", "asyncio", "concurrent", "datetime", "io", "locale", "multiprocessing", "os", "pathlib", "queue"),
    *("random", "secrets", "select", "signal", "socket", "subprocess", "threading", "time", "uuid"),
}


def module_name(path: Path) -> str:
    parts = ("wavelock", *path.relative_to(SOURCE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> Iterator[str]:
    """The modules that a file imports, wherever in it. `from a import b` counts as both a and a.b."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 or path.parent == PEERS, f"{path}: imports are absolute"
            assert node.module is not None
            name = f"{module_name(PEERS)}.{node.module}" if node.level else node.module
            yield name
            yield from (f"{name}.{alias.name}" for alias in node.names)


def files_of(folder: str) -> list[Path]:
    found = sorted((SOURCE / folder).rglob("*.py"))
    assert found
    return found


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def family_of(name: str) -> str | None:
    return next((f"wavelock.{family}" for family in FAMILIES if within(name, f"wavelock.{family}")), None)


def test_the_core_imports_no_family() -> None:
    found = [
        f"{module_name(path)} imports {name}"
        for path in files_of("core")
        if path.name != "assembly.py"
        for name in imports_of(path)
        if family_of(name)
    ]
    assert found == []


def test_the_core_imports_no_engine_or_backend() -> None:
    foreign = ("wasmtime", "wasmer", "onnxruntime", "ray", "websockets", "wavelock.cli", "wavelock.testing")
    found = [
        f"{module_name(path)} imports {name}"
        for path in files_of("core")
        for name in imports_of(path)
        if any(within(name, package) for package in foreign)
    ]
    assert found == []


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_imports_core_and_plugins_alone(family: str) -> None:
    own = f"wavelock.{family}"
    allowed = ("wavelock.core", "wavelock.plugins", "wavelock._version", own)
    found = []
    for path in files_of(family):
        for name in imports_of(path):
            if not within(name, "wavelock") or any(within(name, package) for package in allowed):
                continue
            if not any(own == who and within(name, whom) for who, whom in INTERFACES):
                found.append(f"{module_name(path)} imports {name}")
    assert found == []


def test_the_conformance_suite_imports_no_family() -> None:
    """It knows members by the registry alone: third parties' are no other than ours."""
    found = [
        f"{module_name(path)} imports {name}"
        for path in files_of("testing")
        if "fuzz" not in path.parts  # which compares engines below the registry
        for name in imports_of(path)
        if family_of(name)
    ]
    assert found == []


def test_the_benchmarks_leave_the_command_line_alone() -> None:
    found = [
        f"{module_name(path)} imports {name}"
        for path in files_of("bench")
        for name in imports_of(path)
        if within(name, "wavelock.cli")
    ]
    assert found == []


def test_nothing_but_the_command_line_imports_the_benchmarks() -> None:
    found = [
        f"{module_name(path)} imports {name}"
        for path in files_of(".")
        for name in imports_of(path)
        if within(name, "wavelock.bench") and path.relative_to(SOURCE).parts[0] not in ("bench", "cli")
    ]
    assert found == []


def test_peers_import_nothing_of_wavelock() -> None:
    found = [
        f"{module_name(path)} imports {name}"
        for path in files_of("bench/peers")
        for name in imports_of(path)
        if within(name, "wavelock") and not within(name, "wavelock.bench.peers")
    ]
    assert found == []


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_leaves_assembly_and_the_command_line_alone(family: str) -> None:
    found = [
        f"{module_name(path)} imports {name}"
        for path in files_of(family)
        for name in imports_of(path)
        if within(name, "wavelock.core.assembly") or within(name, "wavelock.core.runtime")
    ]
    assert found == []


@pytest.mark.parametrize("name", KERNEL)
def test_the_kernel_is_sans_io(name: str) -> None:
    found = [module for module in imports_of(SOURCE / "core" / f"{name}.py") if module.split(".")[0] in NOT_SANS_IO]
    assert found == []


@pytest.mark.parametrize("name", KERNEL)
def test_the_kernel_asks_no_hash_and_no_identity(name: str) -> None:
    tree = ast.parse((SOURCE / "core" / f"{name}.py").read_text(encoding="utf-8"))
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert called & {"hash", "id", "open", "input", "print", "eval", "exec"} == set()


@pytest.mark.parametrize("name", KERNEL)
def test_the_kernel_walks_over_no_set(name: str) -> None:
    """What is written as a set in the source is never iterated: sets are for membership alone."""
    tree = ast.parse((SOURCE / "core" / f"{name}.py").read_text(encoding="utf-8"))
    loops = [node.iter for node in ast.walk(tree) if isinstance(node, (ast.For, ast.comprehension))]
    assert [ast.dump(loop) for loop in loops if isinstance(loop, (ast.Set, ast.SetComp))] == []
    built = [loop.func.id for loop in loops if isinstance(loop, ast.Call) and isinstance(loop.func, ast.Name)]
    assert {"set", "frozenset"} & set(built) == set()


def test_the_test_sees_imports_inside_functions() -> None:
    """`core/assembly.py` imports a family in a function, and is the one place that may."""
    assert any(family_of(name) for name in imports_of(SOURCE / "core" / "assembly.py"))
