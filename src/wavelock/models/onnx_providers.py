"""Choosing an execution provider, without ONNX Runtime's silent fall-backs.

Rules: providers are tried in the order asked; one counts only when a session was made with it and the session
says so itself (the list of compiled-in providers says nothing about what works); every choice is told in a
sentence. Strict means the first provider of the list, for every node, or an error.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from wavelock.core.errors import ModelError


@dataclass(frozen=True)
class Provider:
    """A provider by its name in profiles. ort: ONNX Runtime's name. wheel: what to install to get it."""

    name: str
    ort: str
    wheel: str
    options: Mapping[str, str]


_CUDA_OPTIONS: Final = {
    "cudnn_conv_algo_search": "DEFAULT",  # the others time the algorithms and choose by the clock
    "do_copy_in_default_stream": "1",
    "tunable_op_enable": "0",
    "enable_cuda_graph": "0",
    "use_tf32": "0",
}

PROVIDERS: Final = {
    provider.name: provider
    for provider in (
        Provider("cuda", "CUDAExecutionProvider", "onnxruntime-gpu", _CUDA_OPTIONS),
        Provider("rocm", "MIGraphXExecutionProvider", "onnxruntime-migraphx", {}),
        Provider("coreml", "CoreMLExecutionProvider", "onnxruntime (macOS)", {}),
        Provider("directml", "DmlExecutionProvider", "onnxruntime-directml (Windows)", {}),
        Provider("cpu", "CPUExecutionProvider", "onnxruntime", {}),
    )
}


@dataclass(frozen=True)
class Chosen:
    """A session and how it came about. reason: one sentence, with a clause for each provider tried."""

    session: Any
    provider: str
    reason: str


def import_onnxruntime() -> Any:
    """Import onnxruntime with its telemetry off."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    return onnxruntime


def compiled_providers() -> list[str]:
    """The providers that the installed build knows, by their names in profiles; whether they work shows at load."""
    compiled_in = import_onnxruntime().get_available_providers()
    return [provider.name for provider in PROVIDERS.values() if provider.ort in compiled_in]


def essential(problem: BaseException) -> str:
    """The one line of an ONNX Runtime error that says something, without its code prefix."""
    lines = [line.strip() for line in str(problem).splitlines() if line.strip()]
    line = lines[0] if lines else type(problem).__name__
    if line.startswith("[ONNXRuntimeError]"):
        line = line.split(" : ", 3)[-1]
    return line if len(line) <= 300 else line[:297] + "..."


def choose_provider(ort: Any, model: str, data: str | bytes, providers: Sequence[str], *, strict: bool) -> Chosen:
    """Make a session on the first provider of `providers` that works; with `strict` only on the very first.

    data: the model's path or bytes. Raises ModelError with what was tried and why each did not work.
    """
    wanted = _known(model, providers)
    tried: list[str] = []
    for provider in wanted:
        session, why = _try_provider(ort, data, provider, strict=strict)
        tried.append(f"{provider.name}: {why}")
        if session is not None:
            return Chosen(session, provider.name, "; ".join(tried))
        if strict:
            break
    who = f"strict asks for {wanted[0].name} alone, which" if strict else "no provider of its list"
    verb = "cannot run it" if strict else "can run it"
    raise ModelError(f"model {model!r}: {who} {verb}: {'; '.join(tried)}. {_way_out(wanted, strict=strict)}")


def _way_out(wanted: Sequence[Provider], *, strict: bool) -> str:
    first = wanted[0]
    if first.name == "cpu" or (not strict and "cpu" in [provider.name for provider in wanted]):
        return "Check the model file"
    install = f"Install {first.wheel} and its drivers"
    return f"{install}, or set strict = false" if strict else f"{install}, or add 'cpu' to providers"


def _known(model: str, providers: Sequence[str]) -> list[Provider]:
    if not providers:
        raise ModelError(f"model {model!r}: providers is empty; expected some of: {', '.join(PROVIDERS)}")
    for name in providers:
        if name not in PROVIDERS:
            near = difflib.get_close_matches(name.lower(), PROVIDERS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"expected one of: {', '.join(PROVIDERS)}"
            raise ModelError(f"model {model!r}: unknown provider {name!r}; {hint}")
    return [PROVIDERS[name] for name in dict.fromkeys(providers)]


def _try_provider(ort: Any, data: str | bytes, provider: Provider, *, strict: bool) -> tuple[Any, str]:
    """A session, or None, and a clause that says why."""
    compiled_in = ort.get_available_providers()
    if provider.ort not in compiled_in:
        has = [known.name for known in PROVIDERS.values() if known.ort in compiled_in]
        return None, f"not in this onnxruntime build (has: {', '.join(has) or 'none that Wavelock knows'})"
    try:
        session = _session(ort, data, provider, strict=strict)
    except MemoryError:
        raise  # the machine failed, not the provider
    except Exception as problem:  # ONNX Runtime's errors share no base class
        return None, essential(problem)
    got = session.get_providers()
    if not got or got[0] != provider.ort:
        return None, f"onnxruntime fell back to {', '.join(got) or 'nothing'} without an error"
    return session, _assignment(session, provider)


def _session(ort: Any, data: str | bytes, provider: Provider, *, strict: bool) -> Any:
    options = session_options(ort, provider)
    accelerated = provider.name != "cpu"
    if strict and accelerated:
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    chain: list[Any] = [(provider.ort, dict(provider.options))]
    if accelerated and not strict:
        chain.append("CPUExecutionProvider")
    session = ort.InferenceSession(data, sess_options=options, providers=chain, enable_fallback=0)
    session.disable_fallback()
    return session


def session_options(ort: Any, provider: Provider) -> Any:
    """Everything that ONNX Runtime would otherwise choose by the machine or the clock, pinned."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.use_deterministic_compute = True
    options.log_severity_level = 4  # what goes wrong is raised; the log would say it again on stderr
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    if provider.name == "directml":
        options.enable_mem_pattern = False  # DirectML refuses sessions with it
    return options


def _assignment(session: Any, provider: Provider) -> str:
    """`ok`, and where not every node runs on the provider, how many do."""
    if provider.name == "cpu" or not hasattr(session, "get_provider_graph_assignment_info"):
        return "ok"
    counts: dict[str, int] = {}
    for part in session.get_provider_graph_assignment_info():
        counts[part.ep_name] = counts.get(part.ep_name, 0) + len(part.get_nodes())
    total, own = sum(counts.values()), counts.get(provider.ort, 0)
    return "ok" if own == total else f"ok for {own} of {total} nodes, the others on cpu"
