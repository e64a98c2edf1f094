"""The model that ships with the suite is the linear layer that it is said to be."""

from __future__ import annotations

import numpy as np
import pytest

from wavelock.testing.workloads.inference import MODEL_FILE

WEIGHTS = np.array([[1, -2, 3], [0, 4, -1], [2, 2, -8], [-3, 1, 0.5]], "<f4")
BIAS = np.array([1, -0.25, 16], "<f4")


def test_the_file_is_this_graph() -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(MODEL_FILE)
    onnx.checker.check_model(model)
    weights = {each.name: onnx.numpy_helper.to_array(each) for each in model.graph.initializer}
    assert [(node.op_type, *node.input) for node in model.graph.node] == [
        ("MatMul", "x", "weights"),
        ("Add", "product", "bias"),
    ]
    np.testing.assert_array_equal(weights["weights"], WEIGHTS)
    np.testing.assert_array_equal(weights["bias"], BIAS)
    assert MODEL_FILE.stat().st_size < 1024


def test_its_answers_are_exact_in_any_order() -> None:
    """Over whole numbers from -15 to 16: every product and partial sum is a float of 32 bits."""
    draw = np.random.default_rng(1)
    rows = draw.integers(-15, 17, (1000, 4)).astype("<f4")
    exact = rows.astype("<f8") @ WEIGHTS.astype("<f8") + BIAS
    for order in ((0, 1, 2, 3), (3, 1, 0, 2), (2, 3, 1, 0)):
        total = BIAS.copy()
        for column in order:
            total = (total + rows[:, [column]] * WEIGHTS[column]).astype("<f4")
        np.testing.assert_array_equal(total, exact)
