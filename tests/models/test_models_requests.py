"""What a request may be, judged by its own bytes alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavelock.core.abi import Reason
from wavelock.core.tensors import Array, encode_tensors
from wavelock.models.interface import TensorSpec
from wavelock.models.requests import Batching, Checker, Intake, Request, intake_for, is_finite

Dims = tuple[int | None, ...]


def spec(*dims: int | None, dtype: str = "<f4") -> TensorSpec:
    return TensorSpec("x", np.dtype(dtype), dims)


def intake(*inputs: TensorSpec, outputs: tuple[TensorSpec, ...] = (), finite: bool = True) -> Intake:
    return intake_for(inputs, outputs, max_rows=8, finite=finite)


def check_request(intake: Intake, raw: bytes) -> Request | Reason:
    """What a new checker says, values included; and the same again now that it may know the header."""
    checker = Checker(intake)
    first, again = (checker.check(raw) for _ in range(2))
    if not isinstance(first, Request):
        assert again is first
        return first
    assert isinstance(again, Request)
    assert (again.rows, again.bare, again.row_dims) == (first.rows, first.bare, first.row_dims)
    assert encode_tensors(again.tensors) == encode_tensors(first.tensors)
    return first if is_finite(first) or not intake.finite else Reason.NOT_FINITE


def payload(*shapes: tuple[int, ...], dtype: str = "<f4") -> bytes:
    return encode_tensors([np.ones(shape, dtype=dtype) for shape in shapes])


@pytest.mark.parametrize(
    ("inputs", "outputs", "batching", "piece_rows"),
    [
        ([(None, 4)], [(None, 2)], Batching.JOINED, 1),
        ([(None, 4), (None,)], [(None, 2), ()], Batching.JOINED, 1),
        ([(None, 4)], [(1, 2)], Batching.PIECES, 1),
        ([(1, 4)], [(1, 2)], Batching.PIECES, 1),
        ([(3, 4)], [(3, 2)], Batching.PIECES, 3),
        ([(3, 4)], [(None, 2)], Batching.PIECES, 3),
        ([(3, 4)], [(2,)], Batching.WHOLE, 1),
        ([(3, 4)], [()], Batching.WHOLE, 1),
        ([(None, 4), (2, 4)], [(None,)], Batching.WHOLE, 1),
        ([(None, 4), ()], [(None,)], Batching.WHOLE, 1),
    ],
)
def test_how_requests_batch_is_read_off_the_shapes(
    inputs: list[Dims], outputs: list[Dims], batching: Batching, piece_rows: int
) -> None:
    made = intake(*(spec(*dims) for dims in inputs), outputs=tuple(spec(*dims) for dims in outputs))
    assert (made.batching, made.piece_rows) == (batching, piece_rows)


@pytest.mark.parametrize(("shape", "rows", "bare"), [((4,), 1, True), ((1, 4), 1, False), ((5, 4), 5, False)])
def test_a_request_comes_with_or_without_the_batch_dimension(shape: tuple[int, ...], rows: int, bare: bool) -> None:
    request = check_request(intake(spec(None, 4)), payload(shape))
    assert isinstance(request, Request)
    assert (request.rows, request.bare, request.tensors[0].shape) == (rows, bare, (rows, 4))


@pytest.mark.parametrize(
    ("wanted", "shapes"),
    [
        ([(None, 4)], [(0, 4)]),
        ([(None, 4)], [(5,)]),
        ([(None, 4)], [(2, 5)]),
        ([(None, 4)], [(2, 4, 1)]),
        ([(None, 4)], [()]),
        ([(None, 4), (None,)], [(2, 4), (3,)]),
        ([(None, 4), (None,)], [(4,), (1,)]),
        ([(None, 4), (None,)], [(1, 4), ()]),
        ([(3, 4)], [(4,)]),
        ([(3, 4)], [(4, 4)]),
        ([(None, 4), ()], [(2, 4), (1,)]),
        ([(None, 4), ()], [(4,), ()]),
    ],
)
def test_wrong_shapes_are_refused(wanted: list[Dims], shapes: list[tuple[int, ...]]) -> None:
    assert check_request(intake(*(spec(*dims) for dims in wanted)), payload(*shapes)) is Reason.BAD_SHAPE


def test_a_fixed_batch_takes_multiples_of_itself() -> None:
    request = check_request(intake(spec(3, 4)), payload((6, 4)))
    assert isinstance(request, Request)
    assert request.rows == 6


def test_a_batch_of_one_may_be_left_out() -> None:
    request = check_request(intake(spec(1, 4)), payload((4,)))
    assert isinstance(request, Request)
    assert request.bare


@pytest.mark.parametrize("dtype", ["<f2", "<f8", "u1", "<i4", "<i8"])
def test_another_dtype_is_refused(dtype: str) -> None:
    assert check_request(intake(spec(None, 4)), payload((4,), dtype=dtype)) is Reason.BAD_DTYPE


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x01",
        bytes(8) + bytes(1),
        b"\x09" + bytes(15),
        payload((4,), (4,)),
        payload((4,)) + b"tail of it",
        # An element count of zero, with dims past what any array may have.
        bytes([1, 4, 0, 0, 0, 0, 0, 0]) + bytes(4) + b"\xff" * 12,
    ],
)
def test_bytes_that_are_not_the_tensors_asked_for_are_refused(raw: bytes) -> None:
    assert check_request(intake(spec(None, 4)), raw) is Reason.BAD_TENSOR


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8"])
def test_non_finite_values_are_refused_only_where_asked(bad: float, dtype: str) -> None:
    raw = encode_tensors([np.array([0, bad, 0, 0], dtype=dtype)])
    assert check_request(intake(spec(None, 4, dtype=dtype)), raw) is Reason.NOT_FINITE
    assert isinstance(check_request(intake(spec(None, 4, dtype=dtype), finite=False), raw), Request)


def test_shape_is_judged_before_values_and_dtype_before_shape() -> None:
    nan = np.full((5,), math.nan, dtype="<f4")
    assert check_request(intake(spec(None, 4)), encode_tensors([nan])) is Reason.BAD_SHAPE
    assert check_request(intake(spec(None, 4)), encode_tensors([nan.astype("<f8")])) is Reason.BAD_DTYPE


def test_integers_are_always_finite() -> None:
    raw = encode_tensors([np.array([1, 2, 3, 4], dtype="<i8")])
    assert isinstance(check_request(intake(spec(None, 4, dtype="<i8")), raw), Request)


@given(raw=st.binary(max_size=96))
def test_no_bytes_raise(raw: bytes) -> None:
    made = intake(spec(None, None), spec(None, 2, dtype="<i4"))
    assert isinstance(check_request(made, raw), Request | Reason)


@given(data=st.data(), cut=st.integers(1, 8))
def test_cut_payloads_are_refused(data: Any, cut: int) -> None:
    rows = data.draw(st.integers(1, 4))
    tensor: Array = np.arange(rows * 4, dtype="<f4").reshape(rows, 4)
    assert check_request(intake(spec(None, 4)), encode_tensors([tensor])[:-cut]) is Reason.BAD_TENSOR


@given(raws=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5), st.integers(-9, 9)), max_size=8))
def test_a_known_header_changes_no_verdict(raws: list[tuple[int, int, int]]) -> None:
    made = intake(spec(None, None))
    checker = Checker(made)
    for rows, width, cut in raws:
        whole = payload((rows, width) if rows else (width,))
        raw = whole[:cut] if cut < 0 else whole + bytes(cut)
        known, fresh = checker.check(raw), Checker(made).check(raw)
        assert isinstance(known, Request) == isinstance(fresh, Request)
        if isinstance(known, Request) and isinstance(fresh, Request):
            assert encode_tensors(known.tensors) == encode_tensors(fresh.tensors)
        else:
            assert known is fresh


def test_many_headers_are_not_kept_for_ever() -> None:
    checker = Checker(intake(spec(None, None)))
    for width in range(1, 3000):
        assert isinstance(checker.check(payload((width,), dtype="<f4")), Request)
    assert len(checker._known) <= 1024
