"""The ONNX Runtime backend: files to sessions, strictly.

ONNX_EXTENDED optimisation rather than ALL: the layout optimisations beyond it choose by the processor's
features.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from wavelock.core.errors import EnvironmentFailure, ModelError
from wavelock.core.tensors import MAX_RANK, Array
from wavelock.models.interface import Model, ModelSpec, Resolution, TensorSpec
from wavelock.models.onnx_graph import NotOnnxError, read_graph
from wavelock.models.onnx_providers import Chosen, choose_provider, essential, import_onnxruntime
from wavelock.models.onnx_wheels import broken_install, installed_wheels

_DTYPES: Final[dict[str, np.dtype[Any]]] = {
    "tensor(float16)": np.dtype("<f2"),
    "tensor(float)": np.dtype("<f4"),
    "tensor(double)": np.dtype("<f8"),
    "tensor(uint8)": np.dtype("u1"),
    "tensor(int32)": np.dtype("<i4"),
    "tensor(int64)": np.dtype("<i8"),
}
_MACHINE_FAILURES: Final = (
    "failed to allocate memory",
    "out of memory",
    "bad allocation",
    "cuda failure",
    "hip failure",
)
"""What ONNX Runtime says, in lower case, when the machine failed and not the model."""


class OnnxModel:
    """One session. Implements `Model`."""

    def __init__(
        self,
        name: str,
        session: Any,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
        resolution: Resolution,
    ) -> None:
        self._name = name
        self._session: Any = session
        self._inputs, self._outputs, self._resolution = inputs, outputs, resolution
        self._output_names = [spec.name for spec in outputs]

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The inputs, in the file's order."""
        return self._inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The outputs, in the file's order."""
        return self._outputs

    @property
    def resolution(self) -> Resolution:
        """Which provider runs this model, and why."""
        return self._resolution

    def run(self, batch: Sequence[Array]) -> list[Array]:
        """Run one batch; see `Model.run`."""
        feed = {spec.name: array for spec, array in zip(self._inputs, batch, strict=True)}
        try:
            return list(self._session.run(self._output_names, feed))
        except Exception as problem:
            line = str(problem).lower()
            if any(sign in line for sign in _MACHINE_FAILURES):
                raise EnvironmentFailure(f"model {self._name!r}: {essential(problem)}") from problem
            raise

    def close(self) -> None:
        """Free the session. Safe to call twice."""
        self._session = None


class OnnxBackend:
    """Implements `ModelBackend`. runtime: gives the onnxruntime module; another one is for tests."""

    def __init__(self, runtime: Callable[[], Any] = import_onnxruntime) -> None:
        broken = broken_install()
        if broken is not None:
            raise ModelError(f"onnxruntime: {broken}")
        self._ort = runtime()

    def load(self, spec: ModelSpec) -> Model:
        """Load a model file on the first provider that works; see `ModelBackend.load`."""
        _check_file(spec)
        chosen = choose_provider(self._ort, spec.name, str(spec.path), spec.providers, strict=spec.strict)
        inputs = _specs(spec.name, "input", chosen.session.get_inputs())
        outputs = _specs(spec.name, "output", chosen.session.get_outputs())
        return OnnxModel(spec.name, chosen.session, inputs, outputs, _resolution(self._ort, chosen))


def _check_file(spec: ModelSpec) -> None:
    try:
        facts = read_graph(_content(spec))
    except NotOnnxError as problem:
        raise ModelError(f"model {spec.name!r}: {spec.path} is not an ONNX model: {problem}") from problem
    if facts.random:
        raise ModelError(
            f"model {spec.name!r}: {spec.path} draws random numbers ({', '.join(facts.random)}); their"
            " generator stays in the session, so that answers would depend on how often it was asked."
            " Export it without them, and let the agent pass random numbers in"
        )
    if facts.rankless_inputs:
        raise ModelError(
            f"model {spec.name!r}: {spec.path} declares no shape for {', '.join(facts.rankless_inputs)};"
            " requests can be checked only against a known rank. Export it with input shapes"
        )


def _content(spec: ModelSpec) -> bytes:
    try:
        return Path(spec.path).read_bytes()
    except OSError as problem:
        raise ModelError(f"model {spec.name!r}: {spec.path} cannot be read: {problem.strerror}") from problem


def _specs(model: str, what: str, nodes: Sequence[Any]) -> tuple[TensorSpec, ...]:
    if not nodes:
        raise ModelError(f"model {model!r}: it has no {what}s")
    return tuple(_spec(model, what, node) for node in nodes)


def _spec(model: str, what: str, node: Any) -> TensorSpec:
    dtype = _DTYPES.get(node.type)
    if dtype is None:
        raise ModelError(
            f"model {model!r}: {what} {node.name!r} is a {node.type}; agents exchange {', '.join(_DTYPES)}"
        )
    dims = tuple(size if isinstance(size, int) and size >= 0 else None for size in node.shape or ())
    if len(dims) > MAX_RANK:
        raise ModelError(f"model {model!r}: {what} {node.name!r} has rank {len(dims)}; a tensor has at most {MAX_RANK}")
    return TensorSpec(node.name, dtype, dims)


def _resolution(ort: Any, chosen: Chosen) -> Resolution:
    wheels = " + ".join(installed_wheels()) or f"onnxruntime {ort.__version__}"
    return Resolution(chosen.provider, chosen.reason, f"{wheels}; {chosen.provider}; {_device()}")


def _device() -> str:
    """The processor, by its own name where the system tells it: answers may differ from one to another."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor() or "unknown processor"
    return f"{platform.system()} {platform.machine()}, {name}"
