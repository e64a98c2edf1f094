"""Sessions: `nox -s tests lint types examples conformance`; `nox -s fuzz` searches, `nox -s bench` measures.

`.ci/run` runs the tests on one Python, and the conformance suite on 3.10 with every engine there is.
"""

from __future__ import annotations

import nox

nox.options.default_venv_backend = "venv"
nox.options.sessions = ["lint", "types", "tests"]
PYTHONS = ["3.10", "3.11", "3.12", "3.13"]


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """The whole test suite."""
    session.install("-e", ".[dev]")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session(python=PYTHONS)
def conformance(session: nox.Session) -> None:
    """The conformance suite over all engines that this Python has: wasmer is one of them on 3.10."""
    session.install("-e", ".[onnx,wasmer]")
    session.run("wavelock", "conformance", *session.posargs)


@nox.session(python="3.10")
def fuzz(session: nox.Session) -> None:
    """The long search for modules that engines disagree on: `nox -s fuzz -- modules --count 100000`."""
    session.install("-e", ".[wasmer]")
    session.run("python", "-m", "wavelock.testing.fuzz", *(session.posargs or ["modules", "--count", "100000"]))


@nox.session
def lint(session: nox.Session) -> None:
    """Style, and that what is formatted stays so."""
    session.install("ruff")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session
def types(session: nox.Session) -> None:
    """Strict types over source, tests and this file."""
    session.install("-e", ".[dev]")
    session.run("mypy")


@nox.session
def examples(session: nox.Session) -> None:
    """Rebuild the examples' modules and compare their bytes with what is checked in."""
    session.install("ziglang==0.17.1")
    session.run("python", "examples/build.py", *(session.posargs or ["--check"]))


@nox.session
def bench(session: nox.Session) -> None:
    """Measure everything that `docs/benchmarks.md` shows, draw it, and measure what the deterministic form costs."""
    session.install("-e", ".[bench]")
    session.run("python", "-m", "benchmarks.suite", *(session.posargs or ["--quick"]))
    session.run("python", "benchmarks/form.py", "--check")
