"""Which ONNX Runtime wheels are installed. All own one folder, so two at once break each other silently."""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata
from typing import Final

from wavelock.plugins.members import Unavailable

WHEELS: Final = (
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-migraphx",
    "onnxruntime-rocm",
    "onnxruntime-directml",
    "onnxruntime-openvino",
    "onnxruntime-qnn",
    "onnxruntime-silicon",
    "onnxruntime-training",
    "onnxruntime-webgpu",
    "ort-nightly",
    "ort-nightly-gpu",
)


def installed_wheels(version_of: Callable[[str], str] = metadata.version) -> list[str]:
    """The installed wheels that own the `onnxruntime` folder, each as `name version`."""
    found = []
    for name in WHEELS:
        try:
            found.append(f"{name} {version_of(name)}")
        except metadata.PackageNotFoundError:
            continue
    return found


def broken_install(version_of: Callable[[str], str] = metadata.version) -> Unavailable | None:
    """Say which wheels break each other, and how to go back to one; None where there is at most one."""
    wheels = installed_wheels(version_of)
    if len(wheels) < 2:
        return None
    names = [wheel.split()[0] for wheel in wheels]
    return Unavailable(
        f"{' and '.join(wheels)} are installed at once and overwrite each other's files",
        f"keep one: pip uninstall -y {' '.join(names)} && pip install {names[-1]}",
    )
