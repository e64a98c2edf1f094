"""A thread beside the caller: what it does comes back, and what goes wrong there goes wrong here."""

from __future__ import annotations

import threading

import pytest

from wavelock.core.beside import BesideThread


def test_both_go_on_at_once() -> None:
    beside, met = BesideThread(), threading.Barrier(2)
    waiting = beside(lambda: bytes([met.wait(timeout=10)]))
    met.wait(timeout=10)
    assert len(waiting()) == 1
    assert beside(lambda: b"again")() == b"again"
    beside.close()
    beside.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "wavelock-digest"]


def test_an_error_rises_where_it_is_waited_for() -> None:
    beside = BesideThread()

    def fail() -> bytes:
        raise MemoryError("full")

    waiting = beside(fail)
    with pytest.raises(MemoryError, match="full"):
        waiting()
    assert beside(lambda: b"goes on")() == b"goes on"
    beside.close()


def test_no_thread_before_there_is_something_to_do() -> None:
    BesideThread().close()
    assert "wavelock-digest" not in [thread.name for thread in threading.enumerate()]
