"""The Python interface: load a profile, run it, talk to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from wavelock.core.assembly import assemble, live_sources
from wavelock.core.profile import Profile
from wavelock.core.profile_reader import build_profile, override, read_file, read_toml
from wavelock.core.runtime import RunLoop
from wavelock.plugins.manager import Registry

if TYPE_CHECKING:
    from wavelock.core.events import RunEnded, WaveCommitted


def load_profile(path: str | Path, settings: Iterable[str] = (), registry: Registry | None = None) -> Profile:
    """Read and check a profile.

    path: a TOML file; relative paths in it start from its folder. settings: overrides, each `key.path=value`.
    registry: the plugins to check `use` and settings against; None discovers them.
    Raises ProfileError, which lists every problem found.
    """
    path = Path(path)
    return parse_profile(read_file(path), str(path), path.parent, settings, registry)


def parse_profile(
    text: str,
    source: str = "profile",
    base: str | Path = ".",
    settings: Iterable[str] = (),
    registry: Registry | None = None,
) -> Profile:
    """Check a profile given as TOML text. base: the folder that its relative paths start from. Raises ProfileError."""
    raw = read_toml(text, source)
    override(raw, settings, source)
    return build_profile(raw, source, Path(base), (registry or Registry()).settings)


class Runtime(RunLoop):
    """A run of a profile, as a context manager.

    with Runtime(load_profile("profile.toml")) as runtime:
        result = runtime.run()

    Nothing is lazy: when the constructor returns, modules are compiled, models loaded, workers started and the
    run file made. Leaving the block ends the run and closes the file.
    """

    def __init__(
        self,
        profile: Profile,
        *,
        record: bool | None = None,
        registry: Registry | None = None,
        observers: Iterable[object] = (),
    ) -> None:
        """record: whether to write a run file; None: as `[record]` says. observers: objects with observer hooks.

        registry: the plugins; None discovers them. The runtime works on a copy: observers of one run are told of no
        other. Raises ProfileError, ModuleError, ModelError, PluginError, RunFileError; EnvironmentFailure.
        """
        registry = registry.copy() if registry is not None else Registry()
        for observer in observers:
            registry.observe(observer)
        record = profile.record.enabled if record is None else record
        super().__init__(assemble(profile, registry, live_sources(profile, registry, record)))

    def __enter__(self) -> Runtime:
        return self


class AsyncRuntime:
    """The same run for async programs, over anyio (asyncio or trio): waves run on a thread, one call at a time.

    async with AsyncRuntime(profile) as runtime:
        async for wave in runtime.waves(): ...
    """

    def __init__(
        self,
        profile: Profile,
        *,
        record: bool | None = None,
        registry: Registry | None = None,
        observers: Iterable[object] = (),
    ) -> None:
        """See `Runtime`; nothing is opened before the block is entered."""
        self._arguments = (profile, record, registry, tuple(observers))
        self._runtime: Runtime | None = None

    async def __aenter__(self) -> AsyncRuntime:
        from anyio import to_thread

        profile, record, registry, observers = self._arguments
        self._runtime = await to_thread.run_sync(
            lambda: Runtime(profile, record=record, registry=registry, observers=observers)
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        import anyio
        from anyio import to_thread

        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(self.runtime.close)

    @property
    def runtime(self) -> Runtime:
        """The runtime itself, for what does not wait: post, stop, outputs, state, faults, result."""
        if self._runtime is None:
            raise RuntimeError("enter the AsyncRuntime first: async with AsyncRuntime(profile) as runtime")
        return self._runtime

    async def step(self) -> WaveCommitted | None:
        """See `Runtime.step`. A cancelled step still finishes its wave before the cancellation is seen."""
        from anyio import to_thread

        return await to_thread.run_sync(self.runtime.step)

    async def run(self, waves: int | None = None) -> RunEnded:
        """See `Runtime.run`; can be cancelled between waves."""
        done = 0
        while (waves is None or done < waves) and await self.step() is not None:
            done += 1
        return self.runtime.result

    async def waves(self) -> AsyncIterator[WaveCommitted]:
        """Run wave by wave until the run ends."""
        while (wave := await self.step()) is not None:
            yield wave
