"""How the orchestrator tells all workers what to do, and waits for them: with words of the hub's memory."""

from __future__ import annotations

from typing import Final

import numpy as np

from wavelock.wasm_engines.hub.instance import HubInstance
from wavelock.wasm_engines.hub.layout import LEAVE

_WAIT_NS: Final = 100_000_000
"""So long a wait for workers lasts before Python may see to signals."""


class Gate:
    """The orchestrator's side of `serve` in hub.c. attended: workers wait there for what they are told.

    One thread tells and waits, and tells nothing new before all have done the last.
    """

    def __init__(self, hub: HubInstance) -> None:
        self._hub = hub
        self.attended = False

    def open(self) -> None:
        """Workers attend from now on."""
        self.attended = True

    def dismiss(self) -> None:
        """Have them leave."""
        self.wait()  # where an interrupt left a command half done
        self.tell(LEAVE)
        self.wait()
        self.attended = False

    def tell(self, command: int) -> None:
        """Have all that did not give up do something."""
        rows = self._hub.rows
        self._hub.call["tell"](command, len(rows) - int(np.count_nonzero(rows["failed"])))

    def wait(self) -> None:
        """Wait until all have done it."""
        wait = self._hub.call["wait"]
        while wait(_WAIT_NS) & 0xFFFFFFFF:
            pass

    @property
    def gave_up(self) -> bool:
        """Whether one met an error."""
        return bool(self._hub.rows["failed"].any())
