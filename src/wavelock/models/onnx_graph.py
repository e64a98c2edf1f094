"""What Wavelock must know of an ONNX file before a session is made, read without the `onnx` package.

An ONNX file is one protobuf message. This walks only the few fields it needs (numbers from onnx.proto, IR
version 3 to 13) and skips the rest by length, weights included. Source of the encoding: protobuf.dev,
"Encoding".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_MODEL_GRAPH, _MODEL_FUNCTIONS = 7, 25
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_INPUT = 1, 5, 11
_FUNCTION_NODE = 7
_NODE_INPUT, _NODE_OP_TYPE, _NODE_ATTRIBUTE = 1, 4, 5
_ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS = 6, 11
_VALUE_NAME, _VALUE_TYPE, _TYPE_TENSOR, _TENSOR_SHAPE = 1, 2, 1, 2
_TENSOR_NAME = 8

RANDOM_OPERATORS: Final = frozenset(
    {
        "Bernoulli",
        "BiasDropout",
        "BitmaskBiasDropout",
        "BitmaskDropout",
        "Multinomial",
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
        "Sampling",
    }
)
"""Operators whose answers depend on a generator kept in the session, a `seed` attribute or not."""
_DROPOUT_TRAINING_INPUT: Final = 2


class NotOnnxError(ValueError):
    """Bytes that are not a protobuf message holding an ONNX graph."""


@dataclass(frozen=True)
class GraphFacts:
    """operators: all operator types of the graph, its subgraphs and functions, sorted.

    random: the sorted ones among them that draw random numbers, with `Dropout` where it may be training.
    rankless_inputs: inputs that declare no shape, so that their rank is unknown; in the model's order.
    """

    operators: tuple[str, ...]
    random: tuple[str, ...]
    rankless_inputs: tuple[str, ...]


def read_graph(data: bytes) -> GraphFacts:
    """Read a model's operators and inputs. Raises NotOnnxError for anything that is not an ONNX model."""
    view = memoryview(data)
    graphs = [message for number, message in _fields(view) if number == _MODEL_GRAPH]
    if not graphs:
        raise NotOnnxError("no graph in it")
    functions = [message for number, message in _fields(view) if number == _MODEL_FUNCTIONS]
    operators: set[str] = set()
    random: set[str] = set()
    for operator, inputs in _nodes(graphs, functions):
        operators.add(operator)
        if operator in RANDOM_OPERATORS or (operator == "Dropout" and _may_train(inputs)):
            random.add(operator)
    return GraphFacts(tuple(sorted(operators)), tuple(sorted(random)), _rankless_inputs(graphs[-1]))


def _may_train(inputs: list[str]) -> bool:
    return len(inputs) > _DROPOUT_TRAINING_INPUT and inputs[_DROPOUT_TRAINING_INPUT] != ""


def _nodes(graphs: list[memoryview], functions: list[memoryview]) -> Iterator[tuple[str, list[str]]]:
    """Operator and input names of every node. What is left to read is a list: nesting costs no stack."""
    left = [(graph, _GRAPH_NODE) for graph in graphs] + [(function, _FUNCTION_NODE) for function in functions]
    while left:
        message, node_field = left.pop()
        for number, node in _fields(message):
            if number != node_field:
                continue
            operator, inputs = "", []
            for field, value in _fields(node):
                if field == _NODE_OP_TYPE:
                    operator = _text(value)
                elif field == _NODE_INPUT:
                    inputs.append(_text(value))
                elif field == _NODE_ATTRIBUTE:
                    left += [(g, _GRAPH_NODE) for f, g in _fields(value) if f in {_ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS}]
            yield operator, inputs


def _rankless_inputs(graph: memoryview) -> tuple[str, ...]:
    initializers = {
        _text(name)
        for number, tensor in _fields(graph)
        if number == _GRAPH_INITIALIZER
        for field, name in _fields(tensor)
        if field == _TENSOR_NAME
    }
    values = [dict(_fields(value)) for number, value in _fields(graph) if number == _GRAPH_INPUT]
    rankless = [_text(value.get(_VALUE_NAME, memoryview(b""))) for value in values if _lacks_rank(value)]
    return tuple(name for name in rankless if name not in initializers)


def _lacks_rank(value: dict[int, memoryview]) -> bool:
    tensor = dict(_fields(value.get(_VALUE_TYPE, memoryview(b"")))).get(_TYPE_TENSOR)
    return tensor is not None and _TENSOR_SHAPE not in dict(_fields(tensor))


def _text(value: memoryview) -> str:
    return bytes(value).decode("utf-8", "replace")


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """The length-delimited fields of a message, as (number, content); the others are stepped over."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            _, at = _varint(message, at)
        elif wire == 1:
            at += 8
        elif wire == 5:
            at += 4
        elif wire == 2:
            length, at = _varint(message, at)
            if at + length > len(message):
                raise NotOnnxError("a field ends past the end of the file")
            yield number, message[at : at + length]
            at += length
        else:
            raise NotOnnxError(f"wire type {wire} is not protobuf's")
    if at > len(message):
        raise NotOnnxError("the file is cut off")


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            break
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise NotOnnxError("the file is cut off, or a number in it has no end")
