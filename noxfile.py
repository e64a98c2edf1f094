"""Sessions: `nox -s tests lint types examples`; `nox -s bench` measures. `.ci/run` runs the same on one Python."""

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
    """Measure against wasmtime-py used plainly."""
    session.install("-e", ".")
    session.run("python", "benchmarks/turns.py", *session.posargs)
