"""The arrays that models get: rows put together, at one alignment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from wavelock.core.tensors import Array

_ALIGNMENT: Final = 64
"""Bytes. Kernels peel their loops at the data's address; one alignment leaves one order of operations."""


def joined(parts: Sequence[Array]) -> Array:
    """The parts along the first dimension, copied into an aligned, contiguous array."""
    shape = parts[0].shape
    if shape:
        shape = (sum(part.shape[0] for part in parts), *shape[1:])
    whole = _aligned(shape, parts[0].dtype)
    if shape:
        np.concatenate(parts, out=whole)
    else:
        whole[...] = parts[0]
    return whole


def _aligned(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    raw: npt.NDArray[np.uint8] = np.empty(size + _ALIGNMENT, dtype=np.uint8)
    start = -raw.ctypes.data % _ALIGNMENT
    return raw[start : start + size].view(dtype).reshape(shape)
