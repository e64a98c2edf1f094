"""What agents write cannot steer a terminal, forge a line, or bring out a traceback."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import helpers
from wavelock.cli import app
from wavelock.core.abi import Outbound, frame

FORGED = "\x1b[2J\x1b]0;pwned\x07\nwave 3: referee/0: error: forged"


def test_escapes_and_newlines_of_a_log_are_shown_as_such(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    logs = frame(Outbound.LOG, 0, 0, FORGED.encode())
    path = helpers.write_profile(tmp_path, loud=helpers.same_each_turn(logs))
    assert app.run_command(["run", str(path), "--record", "x.wavelock"]) == 0
    err = capsys.readouterr().err
    assert "loud/0: error: \\x1b[2J\\x1b]0;pwned\\x07\\nwave 3" in err
    assert "\x1b" not in err
    assert app.run_command(["inspect", "x.wavelock", "logs"]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert len(out.splitlines()) == 2
    assert app.run_command(["inspect", "x.wavelock", "logs", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"][0]["text"] == FORGED


def test_a_defect_is_told_without_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_as_json: bool) -> int:
        raise ZeroDivisionError("one by none")

    monkeypatch.setattr("wavelock.cli.about.plugins", broken)
    assert app.run_command(["plugins", "--json"]) == 4
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert told["exit_code"] == 4
    assert told["error"].startswith(
        "internal error, please report it: ZeroDivisionError: one by none (test_hostile_text"
    )
    assert "Traceback" not in err


def test_files_without_an_end_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if not Path("/dev/zero").exists():
        pytest.skip("there is no /dev/zero")
    assert app.run_command(["run", "/dev/zero", "--no-record"]) == 2
    assert "/dev/zero: is larger than a profile can be: 16 MiB" in capsys.readouterr().err
    with (tmp_path / "hollow.wasm").open("wb") as file:
        file.truncate(1 << 32)
    (tmp_path / "profile.toml").write_text('[[agents]]\nname = "a"\nmodule = "hollow.wasm"\n')
    assert app.run_command(["check", str(tmp_path / "profile.toml")]) == 2
    assert "larger than a module can be: 64 MiB" in capsys.readouterr().err
