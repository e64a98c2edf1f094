"""One batch: many requests in, one answer for each in the same order.

Rules: a bad request gets its own answer and leaves the others alone. What runs together is decided by the
requests and their order, never by time. A failing batch is run again request by request, so only those that
fail alone are answered MODEL_FAILED. An answer has a batch dimension where its request had one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wavelock.core.abi import Reason
from wavelock.core.errors import EnvironmentFailure
from wavelock.core.ports import InferenceAnswer
from wavelock.core.tensors import Array, encode_tensors
from wavelock.models.arrays import joined
from wavelock.models.interface import Model
from wavelock.models.requests import Batching, Intake, Request, check_request


class UnalikeRowsError(RuntimeError):
    """The outputs of a request's rows cannot be put together: their shapes differ from row to row."""


def answer_batch(model: Model, intake: Intake, payloads: Sequence[bytes]) -> list[InferenceAnswer]:
    """Answer all requests of one batch, in order.

    Raises EnvironmentFailure and MemoryError from the model; everything else becomes the answer of a request.
    """
    checked = [check_request(intake, payload) for payload in payloads]
    good = [request for request in checked if isinstance(request, Request)]
    answered = iter(
        [answer for group in _groups(intake, good) for answer in _answer_group(model, intake, group)]
    )
    return [next(answered) if isinstance(item, Request) else _refused(item) for item in checked]


def _refused(reason: Reason) -> InferenceAnswer:
    return InferenceAnswer(int(reason), b"")


def _groups(intake: Intake, requests: Sequence[Request]) -> list[list[Request]]:
    """Neighbours that may run together. A bad request between two good ones does not part them."""
    groups: list[list[Request]] = []
    for request in requests:
        joins = groups and intake.batching is Batching.JOINED and groups[-1][0].row_dims == request.row_dims
        if joins:
            groups[-1].append(request)
        else:
            groups.append([request])
    return groups


def _answer_group(model: Model, intake: Intake, group: list[Request]) -> list[InferenceAnswer]:
    together = _answer_together(model, intake, group) if len(group) > 1 else None
    return together or [_answer_alone(model, intake, request) for request in group]


def _answer_together(model: Model, intake: Intake, group: list[Request]) -> list[InferenceAnswer] | None:
    """The answers of one joined run; None where it fails, or gives no row for each row."""
    try:
        outputs = _run_joined(model, intake, group)
        if outputs is None:
            return None
        return [InferenceAnswer(0, encode_tensors(answer)) for answer in _split(outputs, group)]
    except (EnvironmentFailure, MemoryError):
        raise
    except Exception:  # one of the group is to blame: running each alone finds out which
        return None


def _answer_alone(model: Model, intake: Intake, request: Request) -> InferenceAnswer:
    try:
        return InferenceAnswer(0, encode_tensors(_run_alone(model, intake, request)))
    except (EnvironmentFailure, MemoryError):
        raise
    except Exception:  # whatever the model or its backend says, the agent learns only that it failed
        return _refused(Reason.MODEL_FAILED)


def _run_alone(model: Model, intake: Intake, request: Request) -> list[Array]:
    if intake.batching is Batching.WHOLE:
        return model.run([joined([tensor]) for tensor in request.tensors])
    if intake.batching is Batching.JOINED:
        outputs = _run_joined(model, intake, [request])
        if outputs is not None:
            return _split(outputs, [request])[0]
    return _run_pieces(model, intake.piece_rows, request)


def _run_joined(model: Model, intake: Intake, group: Sequence[Request]) -> list[Array] | None:
    """The outputs of all rows of the group; None where an output turns out not to have one row for each."""
    inputs = [joined([request.tensors[i] for request in group]) for i in range(len(intake.inputs))]
    rows = sum(request.rows for request in group)
    chunks = []
    for start in range(0, rows, intake.max_rows):
        size = min(intake.max_rows, rows - start)
        # A copy, so that a later chunk is aligned as the first is.
        outputs = model.run(
            [joined([whole[start : start + size]]) if start else whole[:size] for whole in inputs]
        )
        if not all(_leads(output, size) for output in outputs):
            return None
        chunks.append(outputs)
    return chunks[0] if len(chunks) == 1 else [np.concatenate(parts) for parts in zip(*chunks, strict=True)]


def _leads(output: Array, rows: int) -> bool:
    return output.ndim > 0 and output.shape[0] == rows


def _split(outputs: list[Array], group: Sequence[Request]) -> list[list[Array]]:
    answers = []
    start = 0
    for request in group:
        rows = [output[start : start + request.rows] for output in outputs]
        answers.append([np.asarray(output[0]) for output in rows] if request.bare else rows)
        start += request.rows
    return answers


def _run_pieces(model: Model, piece_rows: int, request: Request) -> list[Array]:
    """Run a request piece by piece; an output without the piece's rows is stacked, one a piece."""
    runs = [
        model.run([joined([tensor[start : start + piece_rows]]) for tensor in request.tensors])
        for start in range(0, request.rows, piece_rows)
    ]
    return [_put_together(parts, piece_rows, request.bare) for parts in zip(*runs, strict=True)]


def _put_together(parts: tuple[Array, ...], piece_rows: int, bare: bool) -> Array:
    if len({part.shape for part in parts}) != 1:
        raise UnalikeRowsError(f"outputs of shapes {sorted({part.shape for part in parts})}")
    led = _leads(parts[0], piece_rows)
    if bare:
        return np.asarray(parts[0][0]) if led else parts[0]
    return np.concatenate(parts) if led else np.stack(parts)
