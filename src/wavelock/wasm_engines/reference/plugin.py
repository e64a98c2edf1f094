"""The reference engine as a plugin: a description that imports nothing of the interpreter."""

from __future__ import annotations

from wavelock.plugins import hookimpl
from wavelock.plugins.members import Member, NoSettings
from wavelock.wasm_engines.interface import Engine


def _create(_settings: NoSettings) -> Engine:
    from wavelock.wasm_engines.reference.engine import ReferenceEngine

    return ReferenceEngine()


@hookimpl
def wavelock_engine() -> Member[Engine]:
    """Offer the interpreter."""
    return Member(
        name="reference",
        summary="A slow interpreter in Python, for tests and teaching",
        create=_create,
    )
