"""Reading an ONNX file without the `onnx` package: operators wherever they hide, and files that are none."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavelock.models.onnx_graph import RANDOM_OPERATORS, NotOnnxError, read_graph

pytest.importorskip("onnx")

from onnx import TensorProto, helper

FLOAT = TensorProto.FLOAT


def value(name: str, dims: Any = ("n", 2)) -> Any:
    return helper.make_tensor_value_info(name, FLOAT, dims)


def model(*nodes: Any, inputs: Any = None, initializers: Any = (), functions: Any = ()) -> bytes:
    graph = helper.make_graph(list(nodes), "g", inputs or [value("x")], [value("y")], list(initializers))
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=8, functions=list(functions))
    return bytes(made.SerializeToString())


def branch(*nodes: Any) -> Any:
    return helper.make_graph(list(nodes), "branch", [], [value("b")])


def relu() -> Any:
    return helper.make_node("Relu", ["x"], ["y"])


def test_operators_of_the_graph_are_listed_sorted() -> None:
    facts = read_graph(model(helper.make_node("Tanh", ["x"], ["z"]), helper.make_node("Relu", ["z"], ["y"])))
    assert facts.operators == ("Relu", "Tanh")
    assert facts.random == ()
    assert facts.rankless_inputs == ()


@pytest.mark.parametrize("operator", sorted(RANDOM_OPERATORS))
def test_random_operators_are_found(operator: str) -> None:
    assert read_graph(model(relu(), helper.make_node(operator, ["x"], ["y"]))).random == (operator,)


def test_random_operators_are_found_in_branches_of_branches() -> None:
    inner = helper.make_node("If", ["c"], ["b"], then_branch=branch(helper.make_node("Multinomial", ["x"], ["b"])))
    outer = helper.make_node("If", ["c"], ["y"], then_branch=branch(inner), else_branch=branch(relu()))
    facts = read_graph(model(outer))
    assert facts.operators == ("If", "Multinomial", "Relu")
    assert facts.random == ("Multinomial",)


def test_random_operators_are_found_in_lists_of_graphs() -> None:
    node = helper.make_node("Mine", ["x"], ["y"])
    node.attribute.append(helper.make_attribute("parts", [branch(helper.make_node("RandomNormal", [], ["b"]))]))
    assert read_graph(model(node)).random == ("RandomNormal",)


def test_random_operators_are_found_in_functions() -> None:
    body = [helper.make_node("RandomUniformLike", ["a"], ["b"])]
    function = helper.make_function("mine", "Noisy", ["a"], ["b"], body, [helper.make_opsetid("", 17)])
    call = helper.make_node("Noisy", ["x"], ["y"], domain="mine")
    assert read_graph(model(call, functions=[function])).random == ("RandomUniformLike",)


@pytest.mark.parametrize(
    ("inputs", "random"),
    [(["x"], ()), (["x", "r"], ()), (["x", "r", ""], ()), (["x", "", "t"], ("Dropout",))],
)
def test_dropout_counts_only_where_it_may_train(inputs: list[str], random: tuple[str, ...]) -> None:
    assert read_graph(model(helper.make_node("Dropout", inputs, ["y"]))).random == random


def test_names_and_weights_that_look_like_operators_do_not_count() -> None:
    node = helper.make_node("Relu", ["RandomNormal"], ["y"], name="RandomNormal", doc_string="Bernoulli")
    weights = helper.make_tensor("w", FLOAT, [4], b"\x0a\x22Rand" + bytes(10), raw=True)
    assert read_graph(model(node, initializers=[weights])).random == ()


def test_inputs_without_a_shape_are_named_but_not_scalars_or_weights() -> None:
    inputs = [value("x"), value("scalar", []), value("loose", None), value("w", None)]
    weights = helper.make_tensor("w", FLOAT, [1], [1.0])
    assert read_graph(model(relu(), inputs=inputs, initializers=[weights])).rankless_inputs == ("loose",)


def test_nesting_costs_no_python_stack() -> None:
    node = helper.make_node("Bernoulli", ["x"], ["y"])
    raw = node.SerializeToString()
    for _ in range(1500):
        graph = b"\x0a" + varint(len(raw)) + raw
        attribute = b"\x32" + varint(len(graph)) + graph
        raw = b"\x2a" + varint(len(attribute)) + attribute
    graph = b"\x0a" + varint(len(raw)) + raw
    assert read_graph(b"\x3a" + varint(len(graph)) + graph).random == ("Bernoulli",)


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


@pytest.mark.parametrize(
    "raw",
    [b"", b"hello there, not a model", b"\x08\x08", b"\xff" * 20, b"\x3a\x7f", b"\x0b", b"\x39\x00", b"\x80"],
)
def test_other_files_are_refused(raw: bytes) -> None:
    with pytest.raises(NotOnnxError):
        read_graph(raw)


def test_a_cut_file_is_refused() -> None:
    whole = model(relu())
    with pytest.raises(NotOnnxError):
        read_graph(whole[: len(whole) // 2])


@given(raw=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    with suppress(NotOnnxError):
        read_graph(raw)


@given(at=st.integers(0, 10_000), byte=st.integers(0, 255))
def test_damaged_files_are_read_or_refused(at: int, byte: int) -> None:
    raw = bytearray(model(helper.make_node("If", ["c"], ["y"], then_branch=branch(relu()))))
    raw[at % len(raw)] = byte
    with suppress(NotOnnxError):
        read_graph(bytes(raw))
