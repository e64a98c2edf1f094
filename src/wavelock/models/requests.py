"""One request: its bytes checked against what the model takes.

Rules: a request is judged by its own bytes alone, never by its neighbours; what is wrong is told by one
`abi.Reason`, in this order: the tensors themselves, dtypes, shapes, finite values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

import numpy as np

from wavelock.core.abi import Reason, padded
from wavelock.core.tensors import Array, decode_tensors
from wavelock.models.interface import TensorSpec

_MOST_HEADERS: Final = 1024


class Batching(Enum):
    """How a model's requests may be put together."""

    JOINED = "joined"
    """The batch dimension is open: rows of many requests run together."""
    PIECES = "pieces"
    """Each request runs alone, in pieces of a fixed number of rows."""
    WHOLE = "whole"
    """The model has no batch dimension: each request is exactly one run."""


@dataclass(frozen=True)
class Intake:
    """What a model takes, worked out once when it is loaded.

    piece_rows: the rows of one piece (PIECES). finite: refuse NaN and infinities. max_rows: of one joined
    run.
    """

    inputs: tuple[TensorSpec, ...]
    batching: Batching
    piece_rows: int
    max_rows: int
    finite: bool


@dataclass(frozen=True)
class Request:
    """A good request. tensors: with the batch dimension. bare: it came without; so will its answer go.

    row_dims: the dims behind the batch's, for each input; only requests of the same run together.
    """

    tensors: tuple[Array, ...]
    rows: int
    bare: bool
    row_dims: tuple[tuple[int, ...], ...]


def intake_for(inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], *, max_rows: int, finite: bool) -> Intake:
    """Read off a model's shapes how its requests may be batched."""
    batching, piece_rows = _batching(inputs, outputs)
    return Intake(tuple(inputs), batching, piece_rows, max_rows, finite)


def _batching(inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> tuple[Batching, int]:
    first = {spec.dims[0] if spec.dims else 0 for spec in inputs}
    if len(first) != 1 or 0 in first:
        return Batching.WHOLE, 1
    rows = first.pop()
    closed = [spec.dims[0] for spec in outputs if spec.dims and spec.dims[0] is not None]
    if rows is None:
        return (Batching.PIECES if closed else Batching.JOINED), 1
    scalars = any(not spec.dims for spec in outputs)
    if rows > 1 and (scalars or any(size != rows for size in closed)):
        return Batching.WHOLE, 1
    return Batching.PIECES, rows


class Checker:
    """Checks requests against one model. It remembers the headers of good ones, as most requests are alike."""

    def __init__(self, intake: Intake) -> None:
        self.intake = intake
        self._known: dict[bytes, _Known] = {}

    def check(self, payload: bytes) -> Request | Reason:
        """Decode and judge one request; a Reason says what is wrong with it. Values are judged by `is_finite`."""
        known = self._known.get(payload[: _header_bytes(payload)])
        if known is not None and len(payload) == known.end:
            whole = np.frombuffer(payload, known.dtype, known.count, known.start).reshape(known.shape)
            return Request((whole,), known.rows, known.bare, known.row_dims)
        request = _decoded(self.intake, payload)
        if isinstance(request, Request) and len(request.tensors) == 1:
            self._remember(payload, request)
        return request

    def _remember(self, payload: bytes, request: Request) -> None:
        if len(self._known) >= _MOST_HEADERS:
            self._known.clear()  # agents choose the headers, so there is a bound
        tensor = request.tensors[0]
        start = _header_bytes(payload)
        self._known[payload[:start]] = _Known(
            tensor.dtype,
            start,
            start + tensor.nbytes,
            tensor.size,
            tensor.shape,
            request.rows,
            request.bare,
            request.row_dims,
        )


@dataclass(frozen=True)
class _Known:
    """What a good header of a single tensor says; start and end of the elements in the payload, in bytes."""

    dtype: np.dtype[Any]
    start: int
    end: int
    count: int
    shape: tuple[int, ...]
    rows: int
    bare: bool
    row_dims: tuple[tuple[int, ...], ...]


def _header_bytes(payload: bytes) -> int:
    return 8 + padded(4 * payload[1]) if len(payload) > 1 else 0


def is_finite(request: Request) -> bool:
    """Whether all floats of the request are numbers; integers always are."""
    return all_finite(request.tensors)


def all_finite(tensors: Sequence[Array]) -> bool:
    """Whether all floats among the tensors' elements are numbers."""
    return all(tensor.dtype.kind != "f" or bool(np.isfinite(tensor).all()) for tensor in tensors)


def _decoded(intake: Intake, payload: bytes) -> Request | Reason:
    try:
        tensors = decode_tensors(payload)
    except ValueError:  # TensorError, and what numpy says of sizes past its own range
        return Reason.BAD_TENSOR
    if len(tensors) != len(intake.inputs):
        return Reason.BAD_TENSOR
    if any(tensor.dtype != spec.dtype for tensor, spec in zip(tensors, intake.inputs, strict=True)):
        return Reason.BAD_DTYPE
    return _shaped(intake, tensors) or Reason.BAD_SHAPE


def _shaped(intake: Intake, tensors: list[Array]) -> Request | None:
    if intake.batching is Batching.WHOLE:
        fits = all(_fits(tensor.shape, spec.dims) for tensor, spec in zip(tensors, intake.inputs, strict=True))
        return Request(tuple(tensors), 1, False, ()) if fits else None
    bare = tensors[0].ndim == len(intake.inputs[0].dims) - 1
    if bare:
        tensors = [tensor[np.newaxis] for tensor in tensors]
    row_dims = tuple(tensor.shape[1:] for tensor in tensors)
    rows = {tensor.shape[0] if tensor.ndim else 0 for tensor in tensors}
    if len(rows) != 1 or 0 in rows:
        return None
    count = rows.pop()
    fits = all(_fits(dims, spec.dims[1:]) for dims, spec in zip(row_dims, intake.inputs, strict=True))
    if not fits or (intake.batching is Batching.PIECES and count % intake.piece_rows):
        return None
    return Request(tuple(tensors), count, bare, row_dims)


def _fits(dims: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    if len(dims) != len(wanted):
        return False
    return all(want is None or want == size for size, want in zip(dims, wanted, strict=True))
