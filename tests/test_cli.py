"""The command line: help, bad input, exit statuses, and what goes to stdout and what to stderr."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import ops.stack
from ops.cli import app
from schemas.errors import StackError

ROOT = Path(__file__).parents[1]
COMMANDS = ("up", "down", "status", "worker", "api", "topics", "replay", "verify", "demo", "evaluate", "tune")
NOBODY = {"FRESHET_KAFKA": "127.0.0.1:1", "FRESHET_REDIS": "redis://127.0.0.1:1"}


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings of the one who runs the tests, no colours, wide lines."""
    for name in ("KAFKA", "REDIS", "DATA", "DEBUG", "PARTITIONS"):
        monkeypatch.delenv(f"FRESHET_{name}", raising=False)
    monkeypatch.setenv("FRESHET_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")


def _freshet(*arguments: str, **variables: str) -> Result:
    return CliRunner().invoke(app, arguments, env=variables)


def _python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=True)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_an_example(command: str) -> None:
    result = _freshet(command, "--help")
    assert result.exit_code == 0
    assert f"freshet {command}" in result.stdout
    assert "Example" in result.stdout


def test_help_lists_every_command() -> None:
    listed = _freshet("--help").stdout
    assert all(command in listed for command in COMMANDS)


def test_help_loads_nothing_heavy() -> None:
    heavy = {"numpy", "confluent_kafka", "faust", "fastapi", "redis", "pydantic", "numba"}
    code = f"import sys, ops.cli; print(sorted({heavy!r} & set(sys.modules)))"
    assert _python("-c", code).stdout.strip() == "[]"


def test_it_runs_as_a_module() -> None:
    assert "Usage: freshet" in _python("-m", "ops.cli", "--help").stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("fly",),
        ("up", "--workers", "many"),
        ("up", "--workers", "-1"),
        ("replay",),
        ("replay", "x", "--limit", "-1"),
        ("status", "--jsno"),
    ],
)
def test_bad_flags_are_status_2(arguments: tuple[str, ...]) -> None:
    result = _freshet(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Traceback" not in result.stderr


def test_a_wrong_setting_is_one_sentence_and_status_2() -> None:
    result = _freshet("topics", **NOBODY, FRESHET_PARTITIONS="many")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "FRESHET_PARTITIONS='many'" in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("replay", "no-such-file"), "known sources: movietweetings"),
        (("replay", "movietweetings"), "https://github.com/sidooms/MovieTweetings"),
        (("replay", "synthetic:10", "--speed", "fast"), "--speed 'fast'"),
        (("replay", "synthetic:ten"), "events='ten'"),
    ],
)
def test_wrong_sources_and_speeds_are_status_2(arguments: tuple[str, ...], said: str) -> None:
    result = _freshet(*arguments, **NOBODY)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("arguments", [("topics",), ("topics", "--json"), ("replay", "synthetic:10")])
def test_without_kafka_one_clear_line_quickly(arguments: tuple[str, ...]) -> None:
    begun = time.monotonic()
    result = _freshet(*arguments, **NOBODY)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "Kafka at 127.0.0.1:1 cannot be reached (Connection refused)" in result.stderr.splitlines()[-1]
    assert time.monotonic() - begun < 10


def test_without_anything_it_says_what_to_start() -> None:
    result = _freshet("topics")
    assert result.exit_code == 1
    assert "freshet up" in result.stderr


def test_debug_shows_the_traceback() -> None:
    assert "Traceback" in _freshet("topics", **NOBODY, FRESHET_DEBUG="1").stderr
    assert "Traceback" in _freshet("--debug", "topics", **NOBODY).stderr


def test_ctrl_c_ends_quietly(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ops.stack, "down", interrupted)
    result = _freshet("down")
    assert (result.exit_code, result.stdout, result.stderr) == (130, "", "")


def test_a_stack_error_is_status_1(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: Any) -> None:
        raise StackError("no Java; install it")

    monkeypatch.setattr(ops.stack, "up", failing)
    result = _freshet("up")
    assert (result.exit_code, result.stderr) == (1, "freshet: no Java; install it\n")


def test_up_passes_what_was_asked_and_prints_one_document(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[Any] = []

    def started(settings: Any, name: str, workers: int, only: Any, say: Any) -> SimpleNamespace:
        asked.extend((name, workers, only))
        say("starting")
        return SimpleNamespace(name=name, kafka="k:1", redis="redis://r:1", api=None, mode="native", folder=tmp_path)

    monkeypatch.setattr(ops.stack, "up", started)
    result = _freshet("up", "--name", "two", "--workers", "3", "--only", "kafka, redis", "--json")
    assert asked == ["two", 3, frozenset({"kafka", "redis"})]
    assert json.loads(result.stdout)["folder"] == str(tmp_path)
    assert result.stderr == "starting\n"


def test_status_for_programs_and_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"kafka": "k:1", "redis": "redis://r:1", "api": None, "workers": [{"pid": 7, "lag": 12}], "mode": "native"}
    monkeypatch.setattr(ops.stack, "status", lambda settings, name: found)
    assert json.loads(_freshet("status", "--json").stdout) == found
    shown = _freshet("status").stdout
    assert "native" in shown
    assert "12" in shown


@pytest.mark.parametrize(("differences", "status"), [([], 0), (["views: 3 instead of 4"], 1)])
def test_verify_fails_when_there_are_differences(monkeypatch: pytest.MonkeyPatch, differences: list[str], status: int) -> None:
    fake = ModuleType("ops.verify")
    fake.verify_command = lambda settings, json_output: differences  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ops.verify", fake)
    assert _freshet("verify", **NOBODY).exit_code == status
