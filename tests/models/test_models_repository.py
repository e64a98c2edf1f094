"""The model repository: versions by number, latest and digest, and errors that say what there is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import blake3
import pytest

from wavelock.core.errors import ModelError
from wavelock.models.repository import find_model

Put = Callable[..., Path]


def digest_of(content: bytes) -> str:
    return blake3.blake3(content).hexdigest()


@pytest.mark.parametrize(("version", "number"), [(2, 2), ("2", 2), (" 10 ", 10), ("latest", 10)])
def test_a_version_is_found_by_number_and_latest_is_the_largest(
    put_model: Put, repository: Path, version: int | str, number: int
) -> None:
    for there in (2, 10, 9):
        put_model(b"v%d" % there, "digits", there)
    found = find_model(repository, "digits", version)
    assert found.version == number
    assert found.path == repository / "digits" / str(number) / "model.onnx"
    assert found.digest == digest_of(b"v%d" % number)


def test_other_folders_and_config_are_ignored(put_model: Put, repository: Path) -> None:
    put_model(b"good", "digits", 3)
    for other in ("0", "04", "draft", "5x", "¹"):
        put_model(b"other", "digits", other)
    (repository / "digits" / "config.pbtxt").write_text('name: "else"')
    (repository / "digits" / "7").write_text("a file, not a folder")
    assert find_model(repository, "digits", "latest").version == 3


@pytest.mark.parametrize("length", [8, 20, 64])
@pytest.mark.parametrize("upper", [False, True])
def test_a_version_is_found_by_digest(put_model: Put, repository: Path, length: int, upper: bool) -> None:
    put_model(b"one", "digits", 1)
    put_model(b"two", "digits", 2)
    (repository / "digits" / "3").mkdir()
    prefix = digest_of(b"one")[:length]
    found = find_model(repository, "digits", "blake3:" + (prefix.upper() if upper else prefix))
    assert (found.version, found.digest) == (1, digest_of(b"one"))


def test_of_two_versions_with_the_same_file_the_digest_names_the_newer(put_model: Put, repository: Path) -> None:
    put_model(b"same", "digits", 1)
    put_model(b"same", "digits", 4)
    assert find_model(repository, "digits", "blake3:" + digest_of(b"same")[:12]).version == 4


def test_an_unknown_digest_lists_those_there_are(put_model: Put, repository: Path) -> None:
    put_model(b"one", "digits", 1)
    with pytest.raises(ModelError, match=rf"no version in .*1 = blake3:{digest_of(b'one')[:16]}"):
        find_model(repository, "digits", "blake3:" + "0" * 16)


@pytest.mark.parametrize("bad", ["blake3:", "blake3:abc", "blake3:" + "g" * 10, "blake3:" + "0" * 65])
def test_a_malformed_digest_is_refused(put_model: Put, repository: Path, bad: str) -> None:
    put_model(b"one", "digits", 1)
    with pytest.raises(ModelError, match="8 to 64 hex digits"):
        find_model(repository, "digits", bad)


@pytest.mark.parametrize("bad", [0, -1, "newest", "1.0", "", "01"])
def test_a_malformed_version_is_refused(put_model: Put, repository: Path, bad: int | str) -> None:
    put_model(b"one", "digits", 1)
    with pytest.raises(ModelError, match="expected a number from 1, 'latest' or 'blake3:<hex>'"):
        find_model(repository, "digits", bad)


def test_a_missing_version_lists_those_there_are(put_model: Put, repository: Path) -> None:
    put_model(b"one", "digits", 1)
    put_model(b"two", "digits", 2)
    with pytest.raises(ModelError, match=r"no version 3 in .*; it has: 1, 2"):
        find_model(repository, "digits", 3)


def test_a_version_without_a_model_file_is_refused_even_as_latest(put_model: Put, repository: Path) -> None:
    put_model(b"one", "digits", 1)
    (repository / "digits" / "2").mkdir()
    with pytest.raises(ModelError, match=r"version 2 has no model\.onnx; expected the file"):
        find_model(repository, "digits", "latest")


def test_a_model_without_a_version_is_refused(repository: Path) -> None:
    (repository / "digits" / "draft").mkdir(parents=True)
    with pytest.raises(ModelError, match=r"has no version folder; expected such as .*model\.onnx"):
        find_model(repository, "digits", "latest")


def test_a_missing_repository_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"model 'digits': the repository .*nowhere cannot be read"):
        find_model(tmp_path / "nowhere", "digits", 1)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("digit", "did you mean 'digits'?"),
        ("Digits", "did you mean 'digits'? (upper and lower case differ)"),
        ("qqq", "it has: digits, sentiment"),
        ("../models/digits", "no such folder"),
        ("digits/1", "no such folder"),
        (".", "no such folder"),
    ],
)
def test_an_unknown_model_names_the_nearest(put_model: Put, repository: Path, asked: str, says: str) -> None:
    put_model(b"one", "digits", 1)
    put_model(b"one", "sentiment", 1)
    with pytest.raises(ModelError) as caught:
        find_model(repository, asked, 1)
    assert says in str(caught.value)


def test_an_empty_repository_says_so(repository: Path) -> None:
    with pytest.raises(ModelError, match="it has no models"):
        find_model(repository, "digits", 1)
