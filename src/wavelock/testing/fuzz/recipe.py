"""What random modules are made from."""

from __future__ import annotations

from random import Random
from typing import NamedTuple, Protocol


class Recipe(NamedTuple):
    """Random bytes, and options of whatever makes a module of them. The same recipe gives the same module."""

    content: bytes
    options: tuple[str, ...]


class Maker(Protocol):
    """Makes modules. Used from several threads at once."""

    def recipe(self, random: Random) -> Recipe:
        """A recipe drawn at random."""

    def make(self, wanted: Recipe) -> bytes | None:
        """The module of a recipe; None where there is none."""

    def close(self) -> None:
        """Free what it holds. Safe to call twice."""
