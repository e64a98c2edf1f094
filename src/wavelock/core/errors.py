"""Every error that Wavelock raises on purpose. The class says whose fault it is; the exit code follows from it.

An error's text says what, where (plugin, TOML path, agent, wave), found against expected, and the way out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

EXIT_DONE = 0
EXIT_USER = 2
EXIT_NOT_IDENTICAL = 3
EXIT_ENVIRONMENT = 4
EXIT_FAULTS = 5


class WavelockError(Exception):
    """Base of all errors that Wavelock raises on purpose."""

    exit_code = EXIT_ENVIRONMENT


class UserError(WavelockError):
    """What the user gave cannot be used: a profile, a module, a model, a run file, an argument."""

    exit_code = EXIT_USER


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a profile.

    where: the key path (`agents[2].module`) or `line 4, column 7`.
    what: found against expected, and the way out.
    """

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" if self.where else self.what


class ProfileError(UserError):
    """A profile that cannot be run, with every problem found in it."""

    def __init__(self, source: str, problems: Iterable[Problem]) -> None:
        self.source = source
        self.problems = tuple(problems)
        super().__init__(source, self.problems)

    def __str__(self) -> str:
        if len(self.problems) == 1:
            return f"{self.source}: {self.problems[0]}"
        lines = "".join(f"\n  {problem}" for problem in self.problems)
        return f"{self.source}: {len(self.problems)} problems{lines}"


class ModuleError(UserError):
    """A WebAssembly module that cannot be an agent: where in it, and why."""


class ModelError(UserError):
    """A model that cannot be loaded as the profile asks."""


class PluginError(UserError):
    """A plugin that is unknown, unavailable, given twice, or breaks its interface."""


class RunFileError(UserError):
    """A run file that cannot be opened, read or written where the user asked."""


class InputError(UserError):
    """An input file of the profile that cannot be cut into records."""


class DamagedRunError(WavelockError):
    """A run file whose rows contradict the checksums stored beside them: it cannot replay identical."""

    exit_code = EXIT_NOT_IDENTICAL


class EnvironmentFailure(WavelockError):  # noqa: N818 - the design's own word; it is not the agent's or the user's error
    """Something outside the run failed (disk full, out of memory, a worker lost). Never part of a digest."""

    exit_code = EXIT_ENVIRONMENT
