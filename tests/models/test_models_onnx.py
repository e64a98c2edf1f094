"""The real ONNX Runtime on the CPU, with tiny models made here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wavelock.core.abi import Reason
from wavelock.core.errors import EnvironmentFailure, ModelError
from wavelock.core.tensors import Array, decode_tensors, encode_tensors
from wavelock.models.onnx_backend import OnnxBackend
from wavelock.models.stage import ModelRequest, ModelStage, open_stage

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT
DTYPES = {
    "<f2": TensorProto.FLOAT16,
    "<f4": TensorProto.FLOAT,
    "<f8": TensorProto.DOUBLE,
    "u1": TensorProto.UINT8,
    "<i4": TensorProto.INT32,
    "<i8": TensorProto.INT64,
}
Open = Callable[..., ModelStage]
Put = Callable[..., Path]
node = helper.make_node


def value(name: str, dims: Any, kind: int = FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, dims)


def model(inputs: Sequence[Any], outputs: Sequence[Any], nodes: Sequence[Any], **weights: Any) -> bytes:
    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()]
    graph = helper.make_graph(list(nodes), "g", list(inputs), list(outputs), tensors)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(made.SerializeToString())


def identity(kind: int = FLOAT, dims: Any = ("n", 3)) -> bytes:
    return model([value("x", dims, kind)], [value("y", dims, kind)], [node("Identity", ["x"], ["y"])])


def perceptron() -> bytes:
    """Two layers over 5 features with constant weights, softmax at the end."""
    draw = np.random.default_rng(7)
    weights = {
        "w1": draw.standard_normal((5, 19)).astype("<f4"),
        "b1": draw.standard_normal(19).astype("<f4"),
        "w2": draw.standard_normal((19, 3)).astype("<f4"),
    }
    nodes = [
        node("Gemm", ["x", "w1", "b1"], ["h"]),
        node("Relu", ["h"], ["r"]),
        node("MatMul", ["r", "w2"], ["z"]),
        node("Softmax", ["z"], ["y"], axis=1),
    ]
    return model([value("x", ["n", 5])], [value("y", ["n", 3])], nodes, **weights)


@pytest.fixture(scope="module")
def backend() -> OnnxBackend:
    return OnnxBackend()


@pytest.fixture
def open_model(put_model: Put, repository: Path, backend: OnnxBackend) -> Iterator[Open]:
    """Open a stage over one model's bytes; changes go into its ModelRequest."""
    stages = []

    def make(content: bytes, **changes: Any) -> ModelStage:
        put_model(content)
        fields: dict[str, Any] = {
            "name": "m",
            "backend": "onnx",
            "repository": repository,
            "model": "m",
            "version": "latest",
            "providers": ("cpu",),
            "strict": False,
            "finite": True,
            "max_batch_rows": 64,
        }
        stages.append(open_stage([ModelRequest(**{**fields, **changes})], {"onnx": backend}))
        return stages[-1]

    yield make
    for stage in stages:
        stage.close()


def ask(stage: ModelStage, *payloads: bytes) -> list[Any]:
    stage.submit(1, 0, payloads)
    return stage.collect(1, 0)


def arrays(answer: Any) -> list[Array]:
    assert answer.reason == 0
    return decode_tensors(answer.payload)


@pytest.mark.parametrize(("code", "kind"), DTYPES.items())
def test_every_dtype_of_the_abi_goes_in_and_out(open_model: Open, code: str, kind: int) -> None:
    stage = open_model(identity(kind))
    tensors = [np.array([[1, 2, 3], [4, 5, 6]], dtype=code), np.array([7, 8, 9], dtype=code)]
    payloads = [encode_tensors([tensor]) for tensor in tensors]
    assert [answer.payload for answer in ask(stage, *payloads)] == payloads
    for other in DTYPES:
        if other != code:
            assert ask(stage, encode_tensors([np.ones(3, other)]))[0].reason == Reason.BAD_DTYPE


def test_several_inputs_and_outputs_in_the_files_order(open_model: Open) -> None:
    content = model(
        [value("b", ["n", 2]), value("a", ["n"], TensorProto.INT64)],
        [value("twice", ["n", 2]), value("same", ["n"], TensorProto.INT64)],
        [node("Add", ["b", "b"], ["twice"]), node("Identity", ["a"], ["same"])],
    )
    floats, ints = np.array([[1, 2], [3, 4]], "<f4"), np.array([5, 6], "<i8")
    stage = open_model(content)
    one = encode_tensors([floats[0], ints[0]])
    got = ask(stage, encode_tensors([floats, ints]), encode_tensors([ints, floats]), one)
    assert [part.tolist() for part in arrays(got[0])] == [[[2, 4], [6, 8]], [5, 6]]
    assert got[1].reason == Reason.BAD_DTYPE
    assert [part.tolist() for part in arrays(got[2])] == [[2, 4], 5]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(
    rows=st.lists(st.integers(0, 6), min_size=1, max_size=12),
    seed=st.integers(0, 2**32 - 1),
    poison=st.sets(st.integers(0, 11)),
)
def test_batched_answers_are_the_bits_of_each_request_alone(
    open_model: Open, rows: list[int], seed: int, poison: set[int]
) -> None:
    stage = open_model(perceptron(), max_batch_rows=7)
    draw = np.random.default_rng(seed)
    payloads = []
    for index, count in enumerate(rows):
        tensor = draw.standard_normal((count, 5) if count else 5).astype("<f4")
        if index in poison:
            tensor.flat[0] = np.nan
        payloads.append(encode_tensors([tensor]))
    together = ask(stage, *payloads)
    assert together == [ask(stage, payload)[0] for payload in payloads]
    assert [answer.reason for answer in together] == [
        Reason.NOT_FINITE if index in poison else 0 for index in range(len(rows))
    ]


def test_answers_are_those_of_a_plain_session(open_model: Open) -> None:
    stage = open_model(perceptron())
    assert stage.reports()[0].reason == "cpu: ok"
    session = ort.InferenceSession(perceptron(), providers=["CPUExecutionProvider"])
    rows = np.random.default_rng(3).standard_normal((9, 5)).astype("<f4")
    answers = ask(stage, *(encode_tensors([row]) for row in rows))
    for row, answer in zip(rows, answers, strict=True):
        np.testing.assert_allclose(arrays(answer)[0], session.run(None, {"x": row[None]})[0][0], rtol=1e-5)


def test_a_fixed_batch_size(open_model: Open) -> None:
    stage = open_model(identity(dims=(4, 3)))
    whole = np.arange(24, dtype="<f4").reshape(8, 3)
    got = ask(stage, encode_tensors([whole]), encode_tensors([whole[:3]]), encode_tensors([whole[0]]))
    assert np.array_equal(arrays(got[0])[0], whole)
    assert [answer.reason for answer in got[1:]] == [Reason.BAD_SHAPE] * 2


def test_open_dims_batch_with_their_like_and_keep_their_order(open_model: Open) -> None:
    content = model([value("x", ["n", "t"])], [value("y", ["n", "t"])], [node("Softmax", ["x"], ["y"], axis=1)])
    stage = open_model(content)
    tensors = [np.arange(width, dtype="<f4") for width in (3, 3, 5, 3, 1)]
    payloads = [encode_tensors([tensor]) for tensor in tensors]
    got = ask(stage, *payloads)
    assert [arrays(answer)[0].shape for answer in got] == [(3,), (3,), (5,), (3,), (1,)]
    assert got == [ask(stage, payload)[0] for payload in payloads]


def test_a_request_on_which_the_model_fails_takes_no_other_down(open_model: Open) -> None:
    content = model(
        [value("i", ["n"], TensorProto.INT64)],
        [value("y", ["n", 2])],
        [node("Gather", ["table", "i"], ["y"], axis=0)],
        table=np.arange(10, dtype="<f4").reshape(5, 2),
    )
    stage = open_model(content)
    got = ask(stage, *(encode_tensors([np.array(index, "<i8")]) for index in (4, 99, 0)))
    assert [answer.reason for answer in got] == [0, Reason.MODEL_FAILED, 0]
    assert [arrays(got[i])[0].tolist() for i in (0, 2)] == [[8, 9], [0, 1]]


def test_a_scale_over_the_batch_is_found_out_and_rows_run_alone(open_model: Open) -> None:
    content = model(
        [value("x", ["n", 3])],
        [value("q", ["n", 3], TensorProto.UINT8)],
        [node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"])],
    )
    stage = open_model(content)
    assert "rows run one by one: their answers depend on the batch" in stage.reports()[0].reason
    payloads = [encode_tensors([np.array(row, "<f4")]) for row in ([0, 1, 2], [0, 100, 200])]
    assert ask(stage, *payloads) == [ask(stage, payload)[0] for payload in payloads]


def test_an_output_over_the_whole_batch_is_worked_out_row_by_row(open_model: Open) -> None:
    content = model([value("x", ["n", 3])], [value("y", [])], [node("ReduceSum", ["x"], ["y"], keepdims=0)])
    stage = open_model(content)
    got = ask(stage, encode_tensors([np.array([[1, 2, 3], [4, 5, 6]], "<f4")]), encode_tensors([np.ones(3, "<f4")]))
    assert [arrays(answer)[0].tolist() for answer in got] == [[6, 15], 3]


def test_a_machine_without_memory_ends_the_run(open_model: Open) -> None:
    content = model(
        [value("x", [1, 4])],
        [value("y", None)],
        [node("Expand", ["x", "to"], ["y"])],
        to=np.array([1 << 22, 1 << 22, 4], "<i8"),
    )
    stage = open_model(content)
    stage.submit(1, 0, [encode_tensors([np.ones(4, "<f4")])])
    with pytest.raises(EnvironmentFailure, match=r"model 'm': .*Failed to allocate memory"):
        stage.collect(1, 0)


def refusal(open_model: Open, content: bytes, **changes: Any) -> str:
    with pytest.raises(ModelError) as caught:
        open_model(content, **changes)
    text = str(caught.value)
    assert text.startswith("model 'm': ")
    assert "\n" not in text
    return text


@pytest.mark.skipif("CUDAExecutionProvider" in ort.get_available_providers(), reason="this build has CUDA")
def test_strict_cuda_is_refused_without_cuda_and_not_strict_falls_to_the_cpu(open_model: Open) -> None:
    text = refusal(open_model, identity(), providers=("cuda", "cpu"), strict=True)
    assert "strict asks for cuda alone, which cannot run it: cuda: not in this onnxruntime build (has: cpu)" in text
    report = open_model(identity(), providers=("cuda", "cpu")).reports()[0]
    assert (report.got, report.asked) == ("cpu", ("cuda", "cpu"))
    assert report.reason == "cuda: not in this onnxruntime build (has: cpu); cpu: ok"


def test_the_fingerprint_names_file_wheel_provider_and_processor(open_model: Open) -> None:
    report = open_model(identity(), strict=True).reports()[0]
    parts = report.fingerprint.split("; ")
    assert parts[0].startswith("blake3:")
    assert "onnxruntime" in parts[1]
    assert ort.__version__ in parts[1]
    assert parts[2] == "cpu"
    assert report.version == "1"


@pytest.mark.parametrize("operator", ["RandomNormalLike", "RandomUniformLike", "Bernoulli"])
def test_random_operators_are_refused(open_model: Open, operator: str) -> None:
    content = model([value("x", ["n", 3])], [value("y", ["n", 3])], [node(operator, ["x"], ["y"])])
    assert f"draws random numbers ({operator})" in refusal(open_model, content)


@pytest.mark.parametrize("kind", [TensorProto.STRING, TensorProto.BOOL, TensorProto.INT8, TensorProto.UINT64], ids=str)
def test_types_the_abi_lacks_are_refused(open_model: Open, kind: int) -> None:
    assert "input 'x' is a tensor(" in refusal(open_model, identity(kind))


def test_outputs_the_abi_lacks_are_refused(open_model: Open) -> None:
    content = model([value("x", ["n", 3])], [value("y", ["n", 3], TensorProto.BOOL)], [node("IsNaN", ["x"], ["y"])])
    assert "output 'y' is a tensor(bool)" in refusal(open_model, content)


def test_sequences_are_refused(open_model: Open) -> None:
    sequence = helper.make_tensor_sequence_value_info("s", FLOAT, ["n", 3])
    taken = model([sequence], [value("y", None)], [node("ConcatFromSequence", ["s"], ["y"], axis=0)])
    assert "input 's' is a seq(tensor(float))" in refusal(open_model, taken)
    given_out = model([value("x", ["n", 3])], [sequence], [node("SequenceConstruct", ["x"], ["s"])])
    assert "output 's' is a seq(tensor(float))" in refusal(open_model, given_out)


def test_inputs_without_a_shape_are_refused(open_model: Open) -> None:
    assert "declares no shape for x" in refusal(open_model, identity(dims=None))


def test_a_model_without_inputs_is_refused(open_model: Open) -> None:
    content = model([], [value("y", [2])], [node("Identity", ["w"], ["y"])], w=np.ones(2, "<f4"))
    assert "it has no inputs" in refusal(open_model, content)


@pytest.mark.parametrize(
    "content", [b"", b"hello there, not a model", perceptron()[:200]], ids=["empty", "text", "cut"]
)
def test_a_file_that_is_no_model_is_refused(open_model: Open, content: bytes) -> None:
    assert "is not an ONNX model: " in refusal(open_model, content)


def test_what_onnxruntime_says_of_a_bad_graph_is_kept_to_its_line(open_model: Open) -> None:
    content = model([value("x", ["n", 3])], [value("y", ["n", 3])], [node("NoSuchOp", ["x"], ["y"])])
    text = refusal(open_model, content)
    assert "no provider of its list can run it: cpu: " in text
    assert "No Op registered for NoSuchOp" in text
    assert text.endswith("Check the model file")
    assert "[ONNXRuntimeError]" not in text


def test_a_missing_file_is_refused(backend: OnnxBackend, tmp_path: Path) -> None:
    from wavelock.models.interface import ModelSpec

    spec = ModelSpec("m", tmp_path / "gone.onnx", "1", "0" * 64, ("cpu",), strict=False)
    with pytest.raises(ModelError, match=r"model 'm': .*gone\.onnx cannot be read: No such file"):
        backend.load(spec)


def test_versions_are_loaded_by_number_latest_and_digest(open_model: Open, put_model: Put) -> None:
    put_model(identity(), version=2)
    assert open_model(perceptron()).reports()[0].version == "2"
    old = open_model(perceptron(), version=1).reports()[0]
    assert old.version == "1"
    digest = old.fingerprint.split("; ")[0]
    assert open_model(perceptron(), version=digest[:20]).reports()[0].version == "1"


def test_a_closed_model_is_freed_and_may_be_closed_again(backend: OnnxBackend, put_model: Put) -> None:
    from wavelock.models.interface import ModelSpec

    path = put_model(identity())
    loaded = backend.load(ModelSpec("m", path, "1", "0" * 64, ("cpu",), strict=False))
    assert loaded.run([np.ones((2, 3), "<f4")])[0].tolist() == [[1, 1, 1], [1, 1, 1]]
    loaded.close()
    loaded.close()


def test_telemetry_is_off_once_onnxruntime_is_imported(backend: OnnxBackend) -> None:
    import os

    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"
