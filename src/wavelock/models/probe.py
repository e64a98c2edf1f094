"""Does a row's answer depend on the rows beside it? Asked at load of every model that would join rows.

Some operators give other bits in a batch than alone, and some models mix their rows (a scale taken over the
batch, an output that is no row of its own): one agent's answer would then depend on another's request. What
fails here is run row by row. The probe samples (a few rows, two batch sizes); it proves dependence, never
independence.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from wavelock.core.errors import EnvironmentFailure
from wavelock.core.tensors import Array
from wavelock.models.arrays import joined
from wavelock.models.interface import Model, TensorSpec

_ROWS: Final = 7
"""Odd, so that the tails of vectorised loops fall elsewhere than for a row alone."""
_SMALLER: Final = 2
_OPEN_DIM: Final = 3


def rows_are_independent(model: Model) -> tuple[bool, str]:
    """Whether sampled rows answer joined as they do alone, bit for bit; and a sentence about it."""
    inputs = [_sample(spec) for spec in model.inputs]
    try:
        alone = [model.run([joined([array[row : row + 1]]) for array in inputs]) for row in range(_ROWS)]
        batches = {size: model.run([joined([array[:size]]) for array in inputs]) for size in (_SMALLER, _ROWS)}
    except (EnvironmentFailure, MemoryError):
        raise
    except Exception:  # sampled inputs may be outside what the model takes, such as a token of its vocabulary
        return True, "batches unproved: the model refused sampled inputs"
    same = all(_same_rows(outputs, alone[:size]) for size, outputs in batches.items())
    return (True, "") if same else (False, "rows run one by one: their answers depend on the batch")


def _sample(spec: TensorSpec) -> Array:
    """Fixed inputs: normal floats, integers 0 and 1 (indices that most vocabularies have)."""
    shape = (_ROWS, *(_OPEN_DIM if size is None else size for size in spec.dims[1:]))
    generator = np.random.Generator(np.random.PCG64(len(spec.name)))
    if spec.dtype.kind == "f":
        return generator.standard_normal(shape).astype(spec.dtype)
    return generator.integers(0, 2, shape).astype(spec.dtype)


def _same_rows(batch: list[Array], alone: list[list[Array]]) -> bool:
    size = len(alone)
    for index, output in enumerate(batch):
        parts = [outputs[index] for outputs in alone]
        led = output.ndim > 0 and output.shape[0] == size and all(p.ndim and p.shape[0] == 1 for p in parts)
        if not led or len({part.shape for part in parts}) != 1:
            return False
        if np.concatenate(parts).tobytes() != np.ascontiguousarray(output).tobytes():
            return False
    return True
