"""The ABI's tensors: bytes to numpy arrays and back, bounds first.

Layout: u8 dtype, u8 rank, u16 zero, u32 zero, u32 dims[rank] padded to 8, then the elements, padded to 8 where another
tensor follows. A model with several inputs takes several tensors in a row, in the model's own order.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from wavelock.core.abi import PADDING, padded

Array = npt.NDArray[Any]

DTYPES: Final[tuple[np.dtype[Any], ...]] = tuple(np.dtype(code) for code in ("<f2", "<f4", "<f8", "u1", "<i4", "<i8"))
"""By wasi-nn's number: 0 f16, 1 f32, 2 f64, 3 u8, 4 i32, 5 i64."""
DTYPE_NUMBERS: Final = {dtype: number for number, dtype in enumerate(DTYPES)}
MAX_RANK: Final = 8
_HEAD: Final = struct.Struct("<BBHI")


class TensorError(ValueError):
    """Bytes that are not a tensor of the ABI."""


def decode_tensors(payload: bytes) -> list[Array]:
    """Read all tensors of a payload. The arrays share memory with `payload` and are read-only.

    Raises TensorError, naming the offset, for anything that is not exactly a row of tensors.
    """
    tensors = []
    at = 0
    while at < len(payload):
        tensor, at = _decode_one(payload, at)
        tensors.append(tensor)
    if not tensors:
        raise TensorError("empty payload: expected a tensor")
    return tensors


def _decode_one(payload: bytes, at: int) -> tuple[Array, int]:
    if len(payload) - at < _HEAD.size:
        raise TensorError(f"offset {at}: {len(payload) - at} bytes left, a tensor's header takes {_HEAD.size}")
    dtype_number, rank, zero16, zero32 = _HEAD.unpack_from(payload, at)
    if dtype_number >= len(DTYPES):
        raise TensorError(f"offset {at}: dtype {dtype_number} is not one of 0 to {len(DTYPES) - 1}")
    if rank > MAX_RANK or zero16 or zero32:
        raise TensorError(f"offset {at}: rank {rank} (at most {MAX_RANK}), reserved fields {zero16}, {zero32} (zero)")
    data_at = at + _HEAD.size + padded(4 * rank)
    if data_at > len(payload):
        raise TensorError(f"offset {at}: the dimensions end past the payload's {len(payload)} bytes")
    dims = struct.unpack_from(f"<{rank}I", payload, at + _HEAD.size)
    dtype = DTYPES[dtype_number]
    count = math.prod(dims)
    end = data_at + count * dtype.itemsize
    if end > len(payload):
        raise TensorError(f"offset {at}: {count} elements end at {end}, past the payload's {len(payload)} bytes")
    try:
        tensor = np.frombuffer(payload, dtype=dtype, count=count, offset=data_at).reshape(dims)
    except ValueError:  # no elements, but dimensions that numpy cannot hold
        raise TensorError(f"offset {at}: dimensions {dims} are out of range") from None
    return tensor, end if end == len(payload) else _next_tensor(payload, end)


def _next_tensor(payload: bytes, end: int) -> int:
    """Where the tensor behind one that ends at `end` begins: after zeros up to a multiple of 8, and before the end."""
    following = padded(end)
    if following >= len(payload) or any(payload[end:following]):
        raise TensorError(f"offset {end}: bytes after a tensor that are neither zeros to a multiple of 8 nor a tensor")
    return following


def encode_tensors(tensors: Sequence[Array]) -> bytes:
    """Write arrays as a row of tensors, each padded to 8 but the last. Raises TensorError for a dtype the ABI lacks."""
    parts: list[bytes] = []
    for index, tensor in enumerate(tensors):
        dtype = tensor.dtype.newbyteorder("<") if tensor.dtype.itemsize > 1 else tensor.dtype
        number = DTYPE_NUMBERS.get(dtype)
        if number is None or tensor.ndim > MAX_RANK:
            raise TensorError(f"tensor {index}: dtype {tensor.dtype} of rank {tensor.ndim} has no form in the ABI")
        dims = struct.pack(f"<{tensor.ndim}I", *tensor.shape)
        data = np.ascontiguousarray(tensor, dtype=dtype).tobytes()
        parts += [_HEAD.pack(number, tensor.ndim, 0, 0), dims, PADDING[-len(dims) & 7], data]
        if index + 1 < len(tensors):
            parts.append(PADDING[-len(data) & 7])
    return b"".join(parts)
