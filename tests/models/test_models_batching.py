"""Batches: every answer is what its request alone would get, whatever stands beside it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wavelock.core.abi import Reason
from wavelock.core.errors import EnvironmentFailure
from wavelock.core.ports import InferenceAnswer
from wavelock.core.tensors import Array, decode_tensors, encode_tensors
from wavelock.models.batching import answer_batch
from wavelock.models.requests import Checker, intake_for

MakeModel = Callable[..., Any]
REFUSED = {reason: InferenceAnswer(reason, b"") for reason in Reason}


def tensor(*values: Any, dtype: str = "<f4") -> bytes:
    return encode_tensors([np.array(value, dtype=dtype) for value in values])


def answers(model: Any, payloads: Sequence[bytes], *, max_rows: int = 256, finite: bool = True) -> list[Any]:
    intake = intake_for(model.inputs, model.outputs, max_rows=max_rows, finite=finite)
    return answer_batch(model, Checker(intake), payloads)


def arrays(answer: InferenceAnswer) -> list[Array]:
    assert answer.reason == 0
    return decode_tensors(answer.payload)


def double(batch: Sequence[Array]) -> list[Array]:
    return [batch[0] * 2]


def test_good_requests_share_one_run_and_keep_their_order(memory_model: MakeModel) -> None:
    model = memory_model([(None, 2)], [(None, 2)], double)
    got = answers(model, [tensor([1, 2]), tensor([[3, 4], [5, 6]]), tensor([[7, 8]])])
    assert model.shapes == [((4, 2),)]
    assert [arrays(answer)[0].tolist() for answer in got] == [[2, 4], [[6, 8], [10, 12]], [[14, 16]]]


def test_bad_requests_answer_for_themselves_alone(memory_model: MakeModel) -> None:
    model = memory_model([(None, 2)], [(None, 2)], double)
    payloads = [
        tensor([1, 2]),
        b"junk",
        tensor([1, math.nan]),
        tensor([1, 2, 3]),
        tensor([3, 4], dtype="<f8"),
    ]
    got = answers(model, [*payloads, tensor([5, 6])])
    assert model.shapes == [((2, 2),)]
    assert [answer.reason for answer in got] == [
        0,
        Reason.BAD_TENSOR,
        Reason.NOT_FINITE,
        Reason.BAD_SHAPE,
        Reason.BAD_DTYPE,
        0,
    ]
    assert all(answer.payload == b"" for answer in got[1:5])
    assert arrays(got[5])[0].tolist() == [10, 12]


def test_no_run_where_nothing_is_good(memory_model: MakeModel) -> None:
    model = memory_model([(None, 2)], [(None, 2)], double)
    assert answers(model, []) == []
    assert answers(model, [b"", b"x"]) == [REFUSED[Reason.BAD_TENSOR]] * 2
    assert model.shapes == []


@pytest.mark.parametrize(("max_rows", "sizes"), [(1, [1] * 7), (3, [3, 3, 1]), (7, [7]), (100, [7])])
def test_runs_are_cut_at_the_most_rows_even_within_a_request(
    memory_model: MakeModel, max_rows: int, sizes: list[int]
) -> None:
    model = memory_model([(None, 2)], [(None, 2)], double)
    rows = np.arange(14, dtype="<f4").reshape(7, 2)
    got = answers(model, [encode_tensors([rows[:2]]), encode_tensors([rows[2:]])], max_rows=max_rows)
    assert [shapes[0][0] for shapes in model.shapes] == sizes
    assert np.array_equal(np.concatenate([arrays(answer)[0] for answer in got]), rows * 2)


def test_only_neighbours_of_the_same_dims_share_a_run(memory_model: MakeModel) -> None:
    model = memory_model([(None, None)], [(None, None)], double)
    got = answers(model, [tensor([1, 2]), tensor([3, 4]), b"bad", tensor([5]), tensor([6, 7]), tensor([[8, 9]])])
    assert model.shapes == [((2, 2),), ((1, 1),), ((2, 2),)]
    assert [answer.reason for answer in got] == [0, 0, Reason.BAD_TENSOR, 0, 0, 0]
    assert [arrays(got[i])[0].ravel().tolist() for i in (0, 1, 3, 4, 5)] == [
        [2, 4],
        [6, 8],
        [10],
        [12, 14],
        [16, 18],
    ]


def test_several_inputs_and_outputs(memory_model: MakeModel) -> None:
    def run(batch: Sequence[Array]) -> list[Array]:
        return [batch[0] + batch[1][:, None], batch[1].astype("<i8")]

    model = memory_model([(None, 2), (None,)], [(None, 2), (None,)], run)
    got = answers(model, [tensor([1, 2], 10), tensor([[3, 4], [5, 6]], [20, 30])])
    assert [part.tolist() for part in arrays(got[0])] == [[11, 12], 10]
    assert [part.tolist() for part in arrays(got[1])] == [[[23, 24], [35, 36]], [20, 30]]
    assert answers(model, [tensor([1, 2], [10, 11])]) == [REFUSED[Reason.BAD_SHAPE]]
    assert answers(model, [tensor([1, 2])]) == [REFUSED[Reason.BAD_TENSOR]]


def test_a_failing_batch_is_run_again_request_by_request(memory_model: MakeModel) -> None:
    def fussy(batch: Sequence[Array]) -> list[Array]:
        if (batch[0] < 0).any():
            raise ValueError("negative")
        return double(batch)

    model = memory_model([(None, 1)], [(None, 1)], fussy)
    got = answers(model, [tensor([1]), tensor([-1]), tensor([[2], [3]]), tensor([[4], [-4]])])
    assert [answer.reason for answer in got] == [0, Reason.MODEL_FAILED, 0, Reason.MODEL_FAILED]
    assert arrays(got[2])[0].tolist() == [[4], [6]]
    assert got[1].payload == b""


@pytest.mark.parametrize("failure", [EnvironmentFailure("device lost"), MemoryError()])
@pytest.mark.parametrize("requests", [1, 2])
def test_a_failing_machine_is_no_answer(memory_model: MakeModel, failure: Exception, requests: int) -> None:
    def lost(batch: Sequence[Array]) -> list[Array]:
        raise failure

    with pytest.raises(type(failure)):
        answers(memory_model([(None, 1)], [(None, 1)], lost), [tensor([1])] * requests)


def test_a_fixed_batch_runs_in_pieces_of_its_size(memory_model: MakeModel) -> None:
    model = memory_model([(3, 1)], [(3, 1)], double)
    got = answers(model, [tensor([[1], [2], [3], [4], [5], [6]]), tensor([[1], [2]]), tensor([1])], max_rows=4)
    assert model.shapes == [((3, 1),), ((3, 1),)]
    assert arrays(got[0])[0].ravel().tolist() == [2, 4, 6, 8, 10, 12]
    assert got[1:] == [REFUSED[Reason.BAD_SHAPE]] * 2


def test_a_model_without_a_batch_dimension_runs_request_by_request(memory_model: MakeModel) -> None:
    model = memory_model([(2,), ()], [()], lambda batch: [(batch[0].sum() * batch[1]).astype("<f4")])
    got = answers(model, [tensor([1, 2], 3), tensor([[1, 2]], 3), tensor([4, 5], 1)])
    assert [answer.reason for answer in got] == [0, Reason.BAD_SHAPE, 0]
    assert [arrays(got[i])[0].tolist() for i in (0, 2)] == [9, 9]


def total(batch: Sequence[Array]) -> list[Array]:
    return [np.asarray(batch[0].sum(dtype="<f4")), batch[0] * 2]


def test_an_output_without_rows_is_worked_out_row_by_row(memory_model: MakeModel) -> None:
    model = memory_model([(None, 2)], [(), (None, 2)], total)
    got = answers(model, [tensor([1, 2]), tensor([[3, 4], [5, 6]])])
    assert [part.tolist() for part in arrays(got[0])] == [3, [2, 4]]
    assert [part.tolist() for part in arrays(got[1])] == [[7, 11], [[6, 8], [10, 12]]]


def test_an_output_declared_without_rows_costs_no_joined_run(memory_model: MakeModel) -> None:
    model = memory_model([(None, 2)], [(3,)], lambda batch: [np.full(3, batch[0].sum(), "<f4")])
    got = answers(model, [tensor([1, 2]), tensor([[3, 4], [5, 6]]), tensor([[0, 1]])])
    assert model.shapes == [((1, 2),)] * 4
    assert [arrays(answer)[0].tolist() for answer in got] == [[3] * 3, [[7] * 3, [11] * 3], [[1] * 3]]


def test_rows_of_unlike_outputs_fail_alone(memory_model: MakeModel) -> None:
    model = memory_model([(None, 2)], [(1, None)], lambda batch: [batch[0][batch[0] > 0][None]])
    got = answers(model, [tensor([1, 0]), tensor([[1, 1], [0, 1]]), tensor([[1, 1], [2, 2]])])
    assert [answer.reason for answer in got] == [0, Reason.MODEL_FAILED, 0]
    assert arrays(got[0])[0].tolist() == [1]
    assert arrays(got[2])[0].tolist() == [[1, 1], [2, 2]]


def test_an_output_the_abi_lacks_fails_the_request(memory_model: MakeModel) -> None:
    model = memory_model([(None, 1)], [(None, 1)], lambda batch: [batch[0] > 0])
    assert answers(model, [tensor([1])]) == [REFUSED[Reason.MODEL_FAILED]]
    assert answers(model, [tensor([1]), tensor([2])]) == [REFUSED[Reason.MODEL_FAILED]] * 2


def test_requests_are_never_changed(memory_model: MakeModel) -> None:
    def in_place(batch: Sequence[Array]) -> list[Array]:
        batch[0][...] = 0
        return [batch[0]]

    payloads = [tensor([1, 2]), tensor([[3, 4]])]
    before = list(payloads)
    answers(memory_model([(None, 2)], [(None, 2)], in_place), payloads)
    assert payloads == before


REQUESTS = st.lists(
    st.one_of(
        st.tuples(st.integers(0, 5), st.integers(0, 4), st.booleans()).map(lambda t: t),
        st.binary(max_size=40),
    ),
    max_size=12,
)


def made(request: tuple[int, int, bool] | bytes, seed: int) -> bytes:
    if isinstance(request, bytes):
        return request
    rows, width, special = request
    values = np.random.default_rng(seed).standard_normal((rows, width)).astype("<f4")
    if special and values.size:
        values[0, 0] = -99
    return encode_tensors([values if rows else values.reshape(0, width)] if rows != 1 else [np.ravel(values)])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(requests=REQUESTS, max_rows=st.integers(1, 9), kind=st.sampled_from(["rows", "total", "fussy", "fixed"]))
def test_a_batch_answers_as_each_request_alone(
    memory_model: MakeModel, requests: list[Any], max_rows: int, kind: str
) -> None:
    def fussy(batch: Sequence[Array]) -> list[Array]:
        if (batch[0] == -99).any():
            raise RuntimeError("special")
        return double(batch)

    model = {
        "rows": memory_model([(None, None)], [(None, None)], double),
        "total": memory_model([(None, None)], [(), (None, None)], total),
        "fussy": memory_model([(None, None)], [(None, None)], fussy),
        "fixed": memory_model([(2, None)], [(2, None)], double),
    }[kind]
    payloads = [made(request, seed) for seed, request in enumerate(requests)]
    together = answers(model, payloads, max_rows=max_rows)
    assert together == [answers(model, [payload], max_rows=max_rows)[0] for payload in payloads]
