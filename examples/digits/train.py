"""Train the example's two models, and write the held-out scans that its agents read.

    python examples/digits/train.py

The data are the 1,797 scanned digits that ship with scikit-learn: 8 x 8 pixels of 0 to 16 each. The first 70
% train the models, the others are never seen by them and go into `scans.csv`: the scan's number, its digit,
its 64 pixels. Needs scikit-learn and onnx. Another machine's training may differ in the last bits of the
weights, so the files that the example runs are checked in.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

HERE = Path(__file__).parent
TRAINED_ON = 1257
PIXELS, DIGITS = 64, 10
BRIGHTEST = 16.0


def main() -> None:
    """Train, export, write the scans, and say how good each model is on scans it has not seen."""
    digits = load_digits()
    pixels, labels = digits.data, digits.target
    # Sizes and penalties were chosen on the last 300 of the 1,257 scans, never on the held-out ones.
    perceptron = MLPClassifier(hidden_layer_sizes=(48,), alpha=0.01, max_iter=400, random_state=1)
    logistic = LogisticRegression(C=1.0, max_iter=2000)
    for name, model in (("digits", perceptron), ("digits-linear", logistic)):
        model.fit(pixels[:TRAINED_ON] / BRIGHTEST, labels[:TRAINED_ON])
        right = model.score(pixels[TRAINED_ON:] / BRIGHTEST, labels[TRAINED_ON:])
        path = export(name, layers_of(model))
        size = path.stat().st_size
        print(f"{path.relative_to(HERE)}: {size:,} bytes, {right:.1%} of the held-out scans right")
    write_scans(pixels[TRAINED_ON:].astype(int), labels[TRAINED_ON:])


def layers_of(model: Any) -> list[tuple[Any, Any]]:
    """Weights (in, out) and biases (out) of each layer."""
    if isinstance(model, MLPClassifier):
        return list(zip(model.coefs_, model.intercepts_, strict=True))
    return [(model.coef_.T, model.intercept_)]


def export(name: str, layers: list[tuple[Any, Any]]) -> Path:
    """Write `models/<name>/1/model.onnx`: float32 pixels (n, 64) in, probabilities (n, 10) out.

    The weights are constants of the graph. That is what makes a row's answer independent of its batch.
    """
    weights = {"brightest": np.float32(BRIGHTEST)}
    nodes = [helper.make_node("Div", ["pixels", "brightest"], ["layer0"])]
    for number, (weight, bias) in enumerate(layers, start=1):
        weights |= {f"weight{number}": weight.astype("<f4"), f"bias{number}": bias.astype("<f4")}
        last = number == len(layers)
        sums = f"sums{number}"
        nodes.append(helper.make_node("Gemm", [f"layer{number - 1}", f"weight{number}", f"bias{number}"], [sums]))
        after = ("Softmax", "probabilities") if last else ("Relu", f"layer{number}")
        nodes.append(helper.make_node(after[0], [sums], [after[1]]))
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", PIXELS])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", DIGITS])],
        [numpy_helper.from_array(np.asarray(array), key) for key, array in weights.items()],
    )
    # An old enough format for every ONNX Runtime that Wavelock supports.
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    path = HERE / "models" / name / "1" / "model.onnx"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())
    return path


def write_scans(pixels: Any, labels: Any) -> None:
    """Write `scans.csv`, one scan a line."""
    rows = [
        ",".join(map(str, (number, label, *scan)))
        for number, (label, scan) in enumerate(zip(labels, pixels, strict=True), start=TRAINED_ON)
    ]
    (HERE / "scans.csv").write_text("\n".join(rows) + "\n", encoding="ascii", newline="\n")


if __name__ == "__main__":
    main()
