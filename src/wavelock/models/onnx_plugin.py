"""The `onnx` backend as a plugin. Importing this does not import onnxruntime."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wavelock.plugins.markers import hookimpl
from wavelock.plugins.members import Member, NoSettings, Unavailable, needs_package

if TYPE_CHECKING:
    from wavelock.models.interface import ModelBackend


@hookimpl
def wavelock_model_backend() -> Member[ModelBackend]:
    """ONNX models through ONNX Runtime."""
    return Member(
        name="onnx",
        summary="ONNX Runtime: cuda, rocm (MIGraphX), coreml, directml, cpu",
        create=_create,
        unavailable=_unavailable,
    )


def _unavailable() -> Unavailable | None:
    from wavelock.models.onnx_wheels import broken_install

    return needs_package("onnxruntime", "pip install 'wavelock[onnx]'")() or broken_install()


def _create(settings: NoSettings) -> ModelBackend:
    from wavelock.models.onnx_backend import OnnxBackend

    return OnnxBackend()
