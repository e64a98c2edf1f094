"""Two ONNX Runtime wheels at once are found before they break anything; and what a listing imports."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from wavelock.models import onnx_plugin, onnx_wheels
from wavelock.models.onnx_wheels import broken_install, installed_wheels
from wavelock.plugins.members import NoSettings, Unavailable

SOURCE = Path(__file__).parents[2] / "src"


def having(**versions: str) -> Any:
    def version_of(name: str) -> str:
        if name.replace("-", "_") not in versions:
            raise metadata.PackageNotFoundError(name)
        return versions[name.replace("-", "_")]

    return version_of


def test_one_wheel_or_none_is_fine() -> None:
    assert broken_install(having()) is None
    assert broken_install(having(onnxruntime_gpu="1.32.0")) is None
    assert installed_wheels(having(onnxruntime_gpu="1.32.0", onnxruntime_genai="0.9")) == ["onnxruntime-gpu 1.32.0"]


def test_two_wheels_are_both_named_with_the_way_out() -> None:
    broken = broken_install(having(onnxruntime="1.32.0", onnxruntime_gpu="1.31.0"))
    assert isinstance(broken, Unavailable)
    assert "onnxruntime 1.32.0 and onnxruntime-gpu 1.31.0 are installed at once" in broken.reason
    assert "pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime-gpu" in broken.remedy


def test_the_member_is_unavailable_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    unavailable = onnx_plugin.wavelock_model_backend().unavailable()
    assert unavailable is not None
    assert str(unavailable) == "the package onnxruntime is not installed; pip install 'wavelock[onnx]'"


def test_the_member_is_unavailable_with_two_wheels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setattr(onnx_wheels, "broken_install", lambda: Unavailable("two at once", "keep one"))
    unavailable = onnx_plugin.wavelock_model_backend().unavailable()
    assert unavailable == Unavailable("two at once", "keep one")


def test_the_backend_is_not_made_over_two_wheels(monkeypatch: pytest.MonkeyPatch) -> None:
    from wavelock.core.errors import ModelError
    from wavelock.models import onnx_backend

    monkeypatch.setattr(onnx_backend, "broken_install", lambda: Unavailable("two at once", "keep one"))
    with pytest.raises(ModelError, match="onnxruntime: two at once; keep one"):
        onnx_backend.OnnxBackend(runtime=object)


def test_listing_the_plugin_imports_neither_onnxruntime_nor_onnx() -> None:
    code = (
        "import sys; from wavelock.models import onnx_plugin, onnx_backend, stage;"
        "member = onnx_plugin.wavelock_model_backend(); member.unavailable();"
        "print(member.name, sorted({'onnxruntime', 'onnx'} & set(sys.modules)))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.strip() == "onnx []"


def test_the_member_makes_the_backend() -> None:
    pytest.importorskip("onnxruntime")
    backend = onnx_plugin.wavelock_model_backend().create(NoSettings())
    assert type(backend).__name__ == "OnnxBackend"


def test_the_installed_wheel_is_among_the_known() -> None:
    pytest.importorskip("onnxruntime")
    assert len(onnx_wheels.installed_wheels()) == 1
