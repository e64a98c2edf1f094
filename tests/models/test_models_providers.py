"""Choosing a provider: silent fall-backs are seen and every choice is told. A fake plays ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from wavelock.core.errors import ModelError
from wavelock.models.onnx_providers import PROVIDERS, choose_provider, essential

CUDA, CPU, MIGRAPHX = "CUDAExecutionProvider", "CPUExecutionProvider", "MIGraphXExecutionProvider"


class FakeOptions:
    def __init__(self) -> None:
        self.entries: dict[str, str] = {}

    def add_session_config_entry(self, key: str, text: str) -> None:
        self.entries[key] = text


class FakeSession:
    def __init__(self, runtime: FakeRuntime, options: FakeOptions, providers: Sequence[Any]) -> None:
        self.names = [entry if isinstance(entry, str) else entry[0] for entry in providers]
        self.options, self.providers = options, providers
        self.fallback_disabled = False
        first = self.names[0]
        if first in runtime.raising:
            raise runtime.raising[first]
        self.got = [CPU] if first in runtime.silent else [*dict.fromkeys([*self.names, CPU])]
        self.nodes = runtime.nodes

    def get_providers(self) -> list[str]:
        return self.got

    def disable_fallback(self) -> None:
        self.fallback_disabled = True

    def get_provider_graph_assignment_info(self) -> list[Any]:
        return [SimpleNamespace(ep_name=ep, get_nodes=lambda n=n: [0] * n) for ep, n in self.nodes.items()]


class FakeRuntime:
    """Behaves as FACTS says ONNX Runtime does: compiled-in is not working, and falling back is silent."""

    ExecutionMode = SimpleNamespace(ORT_SEQUENTIAL="sequential")
    GraphOptimizationLevel = SimpleNamespace(ORT_ENABLE_EXTENDED="extended")
    SessionOptions = FakeOptions

    def __init__(
        self,
        *compiled_in: str,
        silent: Sequence[str] = (),
        raising: dict[str, Exception] | None = None,
        nodes: dict[str, int] | None = None,
    ) -> None:
        self.compiled_in, self.silent, self.raising = list(compiled_in), silent, raising or {}
        self.nodes = nodes or {}
        self.made: list[FakeSession] = []

    def get_available_providers(self) -> list[str]:
        return self.compiled_in

    def InferenceSession(self, data: str, *, sess_options: Any, providers: Any, enable_fallback: int) -> FakeSession:
        assert enable_fallback == 0
        self.made.append(FakeSession(self, sess_options, providers))
        return self.made[-1]


def choose(runtime: FakeRuntime, *providers: str, strict: bool = False) -> Any:
    return choose_provider(runtime, "digits", "model.onnx", providers, strict=strict)


def refusal(runtime: FakeRuntime, *providers: str, strict: bool = False) -> str:
    with pytest.raises(ModelError) as caught:
        choose(runtime, *providers, strict=strict)
    return str(caught.value)


def test_what_is_not_compiled_in_is_told_and_the_next_is_taken() -> None:
    chosen = choose(FakeRuntime("AzureExecutionProvider", CPU), "cuda", "rocm", "cpu")
    assert chosen.provider == "cpu"
    assert chosen.reason == (
        "cuda: not in this onnxruntime build (has: cpu); rocm: not in this onnxruntime build (has: cpu); cpu: ok"
    )


def test_the_first_that_works_is_taken() -> None:
    chosen = choose(FakeRuntime(CUDA, CPU, nodes={CUDA: 5}), "cuda", "cpu")
    assert (chosen.provider, chosen.reason) == ("cuda", "cuda: ok")
    assert chosen.session.fallback_disabled
    assert chosen.session.names == [CUDA, CPU]


def test_a_silent_fall_back_is_seen() -> None:
    chosen = choose(FakeRuntime(CUDA, CPU, silent=[CUDA]), "cuda", "cpu")
    assert chosen.provider == "cpu"
    assert chosen.reason == f"cuda: onnxruntime fell back to {CPU} without an error; cpu: ok"


def test_an_error_of_the_provider_is_told_in_one_line() -> None:
    error = RuntimeError("[ONNXRuntimeError] : 1 : FAIL : no CUDA-capable device is detected\n  at line 7\n more")
    chosen = choose(FakeRuntime(CUDA, CPU, raising={CUDA: error}), "cuda", "cpu")
    assert chosen.reason == "cuda: no CUDA-capable device is detected; cpu: ok"


def test_nodes_left_to_the_cpu_are_counted() -> None:
    chosen = choose(FakeRuntime(MIGRAPHX, CPU, nodes={MIGRAPHX: 3, CPU: 2}), "rocm")
    assert (chosen.provider, chosen.reason) == ("rocm", "rocm: ok for 3 of 5 nodes, the others on cpu")


def test_strict_takes_the_first_alone_and_forbids_the_cpu() -> None:
    runtime = FakeRuntime(CUDA, CPU, nodes={CUDA: 5})
    chosen = choose(runtime, "cuda", "cpu", strict=True)
    assert chosen.provider == "cuda"
    assert chosen.session.names == [CUDA]
    assert chosen.session.options.entries["session.disable_cpu_ep_fallback"] == "1"


def test_strict_cpu_is_not_forbidden_the_cpu() -> None:
    chosen = choose(FakeRuntime(CPU), "cpu", strict=True)
    assert "session.disable_cpu_ep_fallback" not in chosen.session.options.entries


@pytest.mark.parametrize(
    ("runtime", "why"),
    [
        (FakeRuntime(CPU), "cuda: not in this onnxruntime build (has: cpu)"),
        (FakeRuntime(CUDA, CPU, silent=[CUDA]), f"cuda: onnxruntime fell back to {CPU} without an error"),
        (
            FakeRuntime(CUDA, CPU, raising={CUDA: RuntimeError("libcublas.so not found")}),
            "cuda: libcublas.so not found",
        ),
    ],
)
def test_strict_refuses_instead_of_falling_to_a_later_one(runtime: FakeRuntime, why: str) -> None:
    text = refusal(runtime, "cuda", "cpu", strict=True)
    assert text == (
        f"model 'digits': strict asks for cuda alone, which cannot run it: {why}."
        " Install onnxruntime-gpu and its drivers, or set strict = false"
    )
    assert all(session.names == [CUDA] for session in runtime.made)


def test_where_nothing_works_everything_tried_is_told() -> None:
    text = refusal(FakeRuntime("AzureExecutionProvider"), "cuda", "coreml")
    assert "cuda: not in this onnxruntime build (has: none that Wavelock knows); coreml: not in" in text
    assert "Install onnxruntime-gpu and its drivers, or add 'cpu' to providers" in text


def test_a_machine_without_memory_is_not_a_choice() -> None:
    with pytest.raises(MemoryError):
        choose(FakeRuntime(CUDA, CPU, raising={CUDA: MemoryError()}), "cuda", "cpu")


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["cdua"], "unknown provider 'cdua'; did you mean 'cuda'?"),
        (["CPU"], "unknown provider 'CPU'; did you mean 'cpu'?"),
        (
            ["cpu", "tpu9000"],
            "unknown provider 'tpu9000'; expected one of: cuda, rocm, coreml, directml, cpu",
        ),
        ([], "providers is empty; expected some of: cuda, rocm, coreml, directml, cpu"),
    ],
)
def test_unknown_providers_are_refused_before_anything_is_tried(names: list[str], says: str) -> None:
    runtime = FakeRuntime(CPU)
    assert says in refusal(runtime, *names)
    assert runtime.made == []


@pytest.mark.parametrize("name", PROVIDERS)
def test_what_the_clock_or_the_machine_would_choose_is_pinned(name: str) -> None:
    session = choose(FakeRuntime(*(provider.ort for provider in PROVIDERS.values())), name).session
    options = session.options
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)
    assert (options.execution_mode, options.graph_optimization_level) == ("sequential", "extended")
    assert options.use_deterministic_compute is True
    assert options.entries["session.intra_op.allow_spinning"] == "0"
    assert getattr(options, "enable_mem_pattern", True) is (name != "directml")


def test_cuda_gets_no_algorithm_search_no_graphs_and_no_tf32() -> None:
    session = choose(FakeRuntime(CUDA), "cuda").session
    assert dict(session.providers[0][1]) == {
        "cudnn_conv_algo_search": "DEFAULT",
        "do_copy_in_default_stream": "1",
        "tunable_op_enable": "0",
        "enable_cuda_graph": "0",
        "use_tf32": "0",
    }


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[ONNXRuntimeError] : 7 : INVALID_PROTOBUF : Load failed:parsing.\n\nmore", "Load failed:parsing."),
        ("\n  plain  \nother", "plain"),
        ("", "RuntimeError"),
        ("x" * 400, "x" * 297 + "..."),
    ],
)
def test_the_essential_line(text: str, line: str) -> None:
    assert essential(RuntimeError(text)) == line
