"""What all tests share: a cache and a working folder of their own, and ways to read a profile."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import helpers
from wavelock import Profile, ProfileError, Registry, parse_profile

# The machines that test this are shared and slow at times: how long an example takes says nothing here.
settings.register_profile("wavelock", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("wavelock")


@pytest.fixture(scope="session", autouse=True)
def _own_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    before = os.getcwd()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WAVELOCK_CACHE", str(tmp_path_factory.mktemp("cache")))
        os.chdir(tmp_path_factory.mktemp("cwd"))
        yield
        os.chdir(before)


@pytest.fixture(scope="session")
def registry() -> Registry:
    """The plugins that are installed."""
    return Registry()


@pytest.fixture(scope="session")
def profile_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what test profiles name: a module, inputs, a model repository."""
    folder = tmp_path_factory.mktemp("profile")
    (folder / "a.wat").write_text(helpers.QUIET)
    (folder / "models").mkdir()
    (folder / "data").mkdir()
    for name in ("b.txt", "a.txt", "[1].txt"):
        (folder / "data" / name).write_text("x\n")
    return folder


@pytest.fixture(scope="session")
def parse(profile_folder: Path, registry: Registry) -> Callable[..., Profile]:
    """Reads a profile's text, with settings as `--set` has them."""

    def run(text: str, overrides: Sequence[str] = ()) -> Profile:
        return parse_profile(text, "p.toml", profile_folder, overrides, registry)

    return run


@pytest.fixture(scope="session")
def refused(parse: Callable[..., Profile]) -> Callable[..., list[str]]:
    """The problems of a profile's text, each as a line without the profile's path."""

    def run(text: str, overrides: Sequence[str] = ()) -> list[str]:
        with pytest.raises(ProfileError) as caught:
            parse(text, overrides)
        assert caught.value.source == "p.toml"
        assert str(caught.value).startswith("p.toml: ")
        return [str(problem) for problem in caught.value.problems]

    return run
