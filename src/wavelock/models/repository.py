"""Finding a model's file in a repository laid out as Triton's: `<repository>/<model>/<version>/model.onnx`.

The names are those that the folders list, so the letter case counts on every file system. As in Triton, a
version is a folder named by a number that does not start with zero; other folders, and `config.pbtxt`, are
ignored.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import blake3

from wavelock.core.errors import ModelError

MODEL_FILE: Final = "model.onnx"
LATEST: Final = "latest"
DIGEST_PREFIX: Final = "blake3:"
SHORTEST_DIGEST: Final = 8
"""Hex digits that a digest in a profile has at least: fewer could name another file by accident."""
_VERSION: Final = re.compile(r"[1-9][0-9]*", re.ASCII)
_DIGEST: Final = re.compile(rf"[0-9a-f]{{{SHORTEST_DIGEST},64}}", re.ASCII)


@dataclass(frozen=True)
class FoundModel:
    """One version of a model. path: its `model.onnx`. digest: BLAKE3 of that file, 64 hex digits."""

    path: Path
    version: int
    digest: str


def find_model(repository: Path, model: str, version: int | str) -> FoundModel:
    """Find a version of `model`: a number, `latest` (the largest number) or `blake3:` and 8 to 64 hex digits.

    Raises ModelError, saying what the repository has instead.
    """
    folder = _model_folder(repository, model)
    versions = _versions(folder)
    if not versions:
        raise ModelError(
            f"model {model!r}: {folder} has no version folder; expected such as {folder / '1' / MODEL_FILE}"
        )
    text = str(version).strip()
    if text.startswith(DIGEST_PREFIX):
        return _by_digest(model, folder, versions, text)
    if text == LATEST:
        number = versions[-1]
    elif _VERSION.fullmatch(text):
        number = int(text)
    else:
        raise ModelError(
            f"model {model!r}: version {version!r}: expected a number from 1, {LATEST!r} or 'blake3:<hex>'"
        )
    if number not in versions:
        raise ModelError(f"model {model!r}: no version {number} in {folder}; it has: {_listed(versions)}")
    return _found(model, folder, number)


def _model_folder(repository: Path, model: str) -> Path:
    try:
        names = sorted(entry.name for entry in repository.iterdir() if entry.is_dir())
    except OSError as problem:
        raise ModelError(
            f"model {model!r}: the repository {repository} cannot be read: {problem.strerror}"
        ) from problem
    if model not in names:
        raise ModelError(
            f"model {model!r}: no such folder in the repository {repository}; {_alternatives(model, names)}"
        )
    return repository / model


def _alternatives(model: str, names: list[str]) -> str:
    if not names:
        return "it has no models"
    other_case = [name for name in names if name.casefold() == model.casefold()]
    if other_case:
        return f"did you mean {other_case[0]!r}? (upper and lower case differ)"
    near = difflib.get_close_matches(model, names, n=3)
    if near:
        return f"did you mean {' or '.join(map(repr, near))}?"
    return f"it has: {_listed(names)}"


def _listed(names: list[str] | list[int]) -> str:
    shown = [str(name) for name in names[:20]]
    return ", ".join(shown) + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def _versions(folder: Path) -> list[int]:
    return sorted(int(entry.name) for entry in folder.iterdir() if entry.is_dir() and _VERSION.fullmatch(entry.name))


def _by_digest(model: str, folder: Path, versions: list[int], text: str) -> FoundModel:
    wanted = text[len(DIGEST_PREFIX) :].lower()
    if not _DIGEST.fullmatch(wanted):
        raise ModelError(
            f"model {model!r}: version {text!r}: expected 'blake3:' and {SHORTEST_DIGEST} to 64 hex digits"
        )
    there = [_found(model, folder, number) for number in versions if (folder / str(number) / MODEL_FILE).is_file()]
    matching = [found for found in there if found.digest.startswith(wanted)]
    if len({found.digest for found in matching}) == 1:
        return matching[-1]
    listed = ", ".join(f"{found.version} = blake3:{found.digest[:16]}" for found in there) or f"no {MODEL_FILE}"
    what = "several versions" if matching else "no version"
    raise ModelError(f"model {model!r}: {what} in {folder} with the digest {text!r}; it has: {listed}")


def _found(model: str, folder: Path, number: int) -> FoundModel:
    path = folder / str(number) / MODEL_FILE
    if not path.is_file():
        raise ModelError(f"model {model!r}: version {number} has no {MODEL_FILE}; expected the file {path}")
    try:
        digest = blake3.blake3(path.read_bytes()).hexdigest()
    except OSError as problem:
        raise ModelError(f"model {model!r}: {path} cannot be read: {problem.strerror}") from problem
    return FoundModel(path, number, digest)
