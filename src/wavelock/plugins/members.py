"""What a plugin offers: one member of one family, as data. Making it must import nothing heavy."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec

MadeT = TypeVar("MadeT")


class NoSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The settings of a member that has none: any key beside `use` is refused."""


@dataclass(frozen=True)
class Unavailable:
    """Why a member cannot be used here, and the exact command or step that would change it."""

    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.reason}; {self.remedy}"


def always_available() -> Unavailable | None:
    """The availability check of a member without optional dependencies."""
    return None


def needs_package(package: str, command: str) -> Callable[[], Unavailable | None]:
    """An availability check: `package` can be imported; else name the command that installs it. Imports nothing."""

    def check() -> Unavailable | None:
        if importlib.util.find_spec(package) is not None:
            return None
        return Unavailable(f"the package {package} is not installed", command)

    return check


@dataclass(frozen=True)
class Member(Generic[MadeT]):
    """One member of a plugin family.

    name: what a profile writes after `use =`; unique in its family.
    summary: one line for `wavelock plugins`.
    create: makes the member from its checked settings (an instance of `settings`); may import what it needs.
    settings: a frozen msgspec.Struct with `forbid_unknown_fields`; its fields are the TOML keys beside `use`.
    unavailable: answers None, or why the member cannot be used on this machine. Cheap: it runs for every listing.
    """

    name: str
    summary: str
    create: Callable[..., MadeT]
    settings: type[msgspec.Struct] = NoSettings
    unavailable: Callable[[], Unavailable | None] = always_available
