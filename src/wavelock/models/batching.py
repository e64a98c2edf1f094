"""One batch: many requests in, one answer for each in the same order.

Rules: a bad request gets its own answer and leaves the others alone. What runs together is decided by the
requests and their order, never by time. A failing batch is run again request by request, so only those that
fail alone are answered MODEL_FAILED. An answer has a batch dimension where its request had one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from wavelock.core.abi import PADDING, Reason
from wavelock.core.errors import EnvironmentFailure
from wavelock.core.ports import InferenceAnswer
from wavelock.core.tensors import Array, encode_tensors
from wavelock.models.arrays import joined
from wavelock.models.interface import Model
from wavelock.models.requests import Batching, Checker, Intake, Request, all_finite, is_finite


class UnalikeRowsError(RuntimeError):
    """The outputs of a request's rows cannot be put together: their shapes differ from row to row."""


def answer_batch(model: Model, checker: Checker, payloads: Sequence[bytes]) -> list[InferenceAnswer]:
    """Answer all requests of one batch, in order.

    Raises EnvironmentFailure and MemoryError from the model; everything else becomes the answer of a request.
    """
    intake = checker.intake
    checked = [checker.check(payload) for payload in payloads]
    good = [request for request in checked if isinstance(request, Request)]
    answered = iter([answer for group in _groups(intake, good) for answer in _answer_group(model, intake, group)])
    return [next(answered) if isinstance(item, Request) else _refused(item) for item in checked]


def _refused(reason: Reason) -> InferenceAnswer:
    return InferenceAnswer(int(reason), b"")


def _groups(intake: Intake, requests: Sequence[Request]) -> list[list[Request]]:
    """Neighbours that may run together. A request of the wrong form between two good ones does not part them."""
    groups: list[list[Request]] = []
    for request in requests:
        joins = groups and intake.batching is Batching.JOINED and groups[-1][0].row_dims == request.row_dims
        if joins:
            groups[-1].append(request)
        else:
            groups.append([request])
    return groups


def _answer_group(model: Model, intake: Intake, group: list[Request]) -> list[InferenceAnswer]:
    if len(group) == 1:
        return [_answer_alone(model, intake, group[0])]
    inputs = _inputs(group)
    if intake.finite and not all_finite(inputs):
        # The sound ones among them are one group still.
        sound = [request for request in group if is_finite(request)]
        answered = iter(_answer_sound(model, intake, sound, _inputs(sound)) if sound else [])
        return [next(answered) if is_finite(request) else _refused(Reason.NOT_FINITE) for request in group]
    return _answer_sound(model, intake, group, inputs)


def _inputs(group: Sequence[Request]) -> list[Array]:
    return [joined(parts) for parts in zip(*(request.tensors for request in group), strict=True)]


def _answer_sound(
    model: Model, intake: Intake, group: Sequence[Request], inputs: Sequence[Array]
) -> list[InferenceAnswer]:
    together = _answer_together(model, intake, group, inputs)
    return together or [_answer_alone(model, intake, request) for request in group]


def _answer_together(
    model: Model, intake: Intake, group: Sequence[Request], inputs: Sequence[Array]
) -> list[InferenceAnswer] | None:
    """The answers of one joined run; None where it fails, or gives no row for each row."""
    try:
        outputs = _run_joined(model, intake.max_rows, inputs)
        return None if outputs is None else [InferenceAnswer(0, raw) for raw in _encoded(outputs, group)]
    except (EnvironmentFailure, MemoryError):
        raise
    except Exception:  # one of the group is to blame: running each alone finds out which
        return None


def _answer_alone(model: Model, intake: Intake, request: Request) -> InferenceAnswer:
    if intake.finite and not is_finite(request):
        return _refused(Reason.NOT_FINITE)
    try:
        return InferenceAnswer(0, encode_tensors(_run_alone(model, intake, request)))
    except (EnvironmentFailure, MemoryError):
        raise
    except Exception:  # whatever the model or its backend says, the agent learns only that it failed
        return _refused(Reason.MODEL_FAILED)


def _run_alone(model: Model, intake: Intake, request: Request) -> list[Array]:
    if intake.batching is Batching.WHOLE:
        return model.run(_inputs([request]))
    if intake.batching is Batching.JOINED:
        outputs = _run_joined(model, intake.max_rows, _inputs([request]))
        if outputs is not None:
            return [np.asarray(output[0]) for output in outputs] if request.bare else outputs
    return _run_pieces(model, intake.piece_rows, request)


def _run_joined(model: Model, max_rows: int, inputs: Sequence[Array]) -> list[Array] | None:
    """The outputs of all rows; None where an output turns out not to have one row for each."""
    rows = inputs[0].shape[0]
    chunks = []
    for start in range(0, rows, max_rows):
        size = min(max_rows, rows - start)
        # A copy, so that a later chunk is aligned as the first is.
        outputs = model.run([joined([whole[start : start + size]]) if start else whole[:size] for whole in inputs])
        if not all(_leads(output, size) for output in outputs):
            return None
        chunks.append(outputs)
    return chunks[0] if len(chunks) == 1 else [np.concatenate(parts) for parts in zip(*chunks, strict=True)]


def _leads(output: Array, rows: int) -> bool:
    return output.ndim > 0 and output.shape[0] == rows


def _encoded(outputs: Sequence[Array], group: Sequence[Request]) -> Iterator[bytes]:
    """`encode_tensors` of each request's rows. Requests of as many rows share their headers."""
    data = [(output.tobytes(), output.nbytes // output.shape[0]) for output in outputs]
    forms: dict[tuple[int, bool], list[tuple[bytes, bytes]]] = {}
    start = 0
    for request in group:
        end = start + request.rows
        form = forms.get((request.rows, request.bare))
        if form is None:
            form = _form(outputs, request)
            forms[request.rows, request.bare] = form
        parts = [
            head + raw[start * size : end * size] + tail for (raw, size), (head, tail) in zip(data, form, strict=True)
        ]
        yield parts[0] if len(parts) == 1 else b"".join(parts)
        start = end


def _form(outputs: Sequence[Array], request: Request) -> list[tuple[bytes, bytes]]:
    """What stands before and behind the elements of each output in an answer of the request's rows."""
    form = []
    for index, output in enumerate(outputs):
        rows = np.asarray(output[0]) if request.bare else output[: request.rows]
        whole = encode_tensors([rows])
        last = index + 1 == len(outputs)
        form.append((whole[: len(whole) - rows.nbytes], b"" if last else PADDING[-rows.nbytes & 7]))
    return form


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
