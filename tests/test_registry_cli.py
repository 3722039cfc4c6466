"""`freshet models ...`: what people see, what they are told when it does not work, and the exit statuses."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from batch.registry.pointers import promote, record_gate, set_shadow
from feature_store.version_manifest import ARRAYS
from feature_store.version_pointers import STATE, GateRecord, read_state
from ops.cli import FreshetCommands
from ops.models_cli import models_app
from tests.published_versions import MODEL, NOON, NOTE, damage, published

COMMANDS = ("list", "show", "promote", "rollback", "prune", "verify")
app = typer.Typer(cls=FreshetCommands)
app.add_typer(models_app, name="models")


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A home of its own, wide lines without colours."""
    monkeypatch.setenv("FRESHET_MODELS", str(tmp_path / "home" / "models"))
    monkeypatch.setenv("COLUMNS", "300")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "home" / "models"


@pytest.fixture
def three(root: Path) -> list[str]:
    """The first served before, the second serves, the third is in the shadow; another model has one that nobody judged."""
    published(root, model="two_tower")
    names = [published(root, seed, metrics={"recall@10": seed / 10}) for seed in (1, 2, 3)]
    for name in names[:2]:
        promote(root, MODEL, name, NOTE, force=True)
    set_shadow(root, MODEL, names[2], NOTE)
    return names


def freshet(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["models", *map(str, arguments)])


def ok(*arguments: str | Path) -> str:
    result = freshet(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(*arguments: str | Path, status: int = 2) -> str:
    result = freshet(*arguments)
    assert (result.exit_code, result.stdout) == (status, "")
    assert result.stderr.startswith("freshet: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


def told(*arguments: str | Path) -> Any:
    return json.loads(ok(*arguments, "--json"))


def row_of(table: str, version: str) -> list[str]:
    (line,) = (line for line in table.splitlines() if version in line)
    return re.split(r"\s{2,}", line.strip())


# --- list and show --------------------------------------------------------------------------------------------------------


def test_list_shows_every_version_with_its_status(three: list[str]) -> None:
    table = ok("list")
    assert re.split(r"\s{2,}", table.splitlines()[0].strip()) == [
        *("model", "version", "status", "trained until", "Recall@10", "MiB", "age")
    ]
    for version, status, recall in zip(three, ("previous", "serving", "shadow"), ("0.1000", "0.2000", "0.3000"), strict=True):
        shown = row_of(table, version)
        assert shown[:6] == [MODEL, version, status, "2026-11-23 11:59 UTC", recall, "0.0"]
        assert re.fullmatch(r"\d+ (s|min|h|d)", shown[6])
    assert [line.split()[0] for line in table.splitlines()[1:]] == [MODEL] * 3 + ["two_tower"]


def test_list_as_json(root: Path, three: list[str]) -> None:
    found = told("list")
    assert found["root"] == str(root)
    assert [(one["model"], one["status"]) for one in found["versions"]] == [
        *((MODEL, "previous"), (MODEL, "serving"), (MODEL, "shadow"), ("two_tower", ""))
    ]
    second = found["versions"][1]
    assert (second["version"], second["trained_until_ms"], second["created_ms"]) == (three[1], NOON - 1000, NOON + 2000)
    assert second["metrics"] == {"recall@10": 0.2}
    assert second["bytes"] == sum(file.stat().st_size for file in (root / MODEL / three[1]).glob("*.safetensors"))


def test_list_shows_a_broken_version_as_broken_and_goes_on(root: Path, three: list[str]) -> None:
    (root / MODEL / three[0] / ARRAYS).unlink()
    assert row_of(ok("list"), three[1])[2] == "serving"
    first = told("list")["versions"][0]
    assert (first["version"], first["status"]) == (three[0], "broken")
    assert "No such file" in first["problem"]


def test_list_without_any_model_says_where_it_looked(root: Path, tmp_path: Path) -> None:
    result = freshet("list")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", f"no model versions in {root}\n")
    assert told("list", "--root", tmp_path / "x") == {"root": str(tmp_path / "x"), "versions": []}


def test_show_tells_all_that_is_known(root: Path, three: list[str]) -> None:
    record_gate(root, MODEL, three[2], GateRecord(at_ms=NOON, against=three[1], promote=True, reasons=("It beats ease.",)))
    shown = ok("show", MODEL, "shadow")
    for line in (
        r"version\s+" + three[2],
        r"status\s+shadow",
        r"kind\s+item_weights",
        r"trained on\s+900 events, 3 users, 6 items",
        r"training\s+1\.5 s, seed 3, code 8499914",
        r"offsets\s+views:0=41, views:1=7",
        r"metrics\s+recall@10 0\.3000",
        r"  new_users\s+recall@10 0\.2000",
        rf"gate\s+passed on 2026-11-23 12:00 UTC against {three[1]}",
        r"  reason 1\s+It beats ease\.",
        rf"move 1\s+shadow none -> {three[2]}, 2026-11-23 12:00 UTC, ann: because",
    ):
        assert re.search(f"^{line}$", shown, re.MULTILINE), line
    found = told("show", MODEL, three[2])
    assert (found["manifest"]["seed"], found["gate"]["promote"], found["history"][0]["action"]) == (3, True, "shadow")
    assert re.search(r"^gate\s+not judged$", ok("show", MODEL, three[0]), re.MULTILINE)


# --- promote, rollback, prune ---------------------------------------------------------------------------------------------


def test_promote_and_roll_back(root: Path, three: list[str]) -> None:
    record_gate(root, MODEL, three[2], GateRecord(at_ms=NOON, against=three[1], promote=True, reasons=("It beats ease.",)))
    before = time.time() * 1000
    assert told("promote", MODEL, "shadow", "--reason", "better for a week") == {
        **{"model": MODEL, "serving": three[2]},
        **{"shadow": None, "previous": three[1]},
    }
    done = read_state(root, MODEL).history[-1]
    assert (done.action, done.reason, done.forced, done.metrics) == ("promote", "better for a week", False, {"recall@10": 0.3})
    assert done.by
    assert before - 1 <= done.at_ms <= time.time() * 1000
    assert re.search(rf"^serving\s+{three[1]}$", ok("rollback", MODEL, "--reason", "fewer clicks"), re.MULTILINE)
    assert told("rollback", MODEL)["serving"] == three[0]
    assert [one.reason for one in read_state(root, MODEL).history[-2:]] == ["fewer clicks", "rolled back by hand"]
    assert f"no version served before {three[0]}" in refused("rollback", MODEL)


def test_promote_past_the_gate_needs_force_and_a_reason(root: Path, three: list[str]) -> None:
    assert "the gate has not judged it" in refused("promote", MODEL, three[2])
    assert "--force needs a --reason" in refused("promote", MODEL, three[2], "--force")
    assert "--force needs a --reason" in refused("promote", MODEL, three[2], "--force", "--reason", "  ")
    assert read_state(root, MODEL).serving == three[1]
    ok("promote", MODEL, three[2], "--force", "--reason", "the others are broken")
    done = read_state(root, MODEL).history[-1]
    assert (done.after, done.forced, done.reason) == (three[2], True, "the others are broken")


def test_prune_removes_what_nobody_needs(root: Path, three: list[str]) -> None:
    more = [published(root, seed) for seed in (4, 5, 6)]
    assert told("prune", MODEL, "--keep", "1") == {"model": MODEL, "removed": more[:2]}
    assert [one["version"] for one in told("list")["versions"]][:4] == [*three, more[2]]
    assert freshet("prune", MODEL, "--keep", "1").stderr == f"{MODEL}: removed nothing\n"
    assert freshet("prune", MODEL, "--keep", "0").exit_code == 2


# --- what there is not ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["show", "promote"])
def test_unknown_names_are_told_what_there_is(three: list[str], command: str) -> None:
    for more in ((), ("--force", "--reason", "x")) if command == "promote" else ((),):
        check_unknown_names(command, three, more)


def check_unknown_names(command: str, three: list[str], more: tuple[str, ...]) -> None:
    assert re.search("no model 'bert' in .*; there are: ease, two_tower$", refused(command, "bert", three[0], *more).strip())
    assert refused(command, MODEL, "20300101T000000Z-abcdef", *more).endswith(f"there are: {', '.join(three)}\n")
    assert refused(command, MODEL, "newest", *more).endswith(f"there are: {', '.join(three)}\n")
    assert "expected up to 64" in refused(command, "../ease", three[0], *more)
    assert "has no shadow version; there are: " in refused(command, "two_tower", "shadow", *more)


@pytest.mark.parametrize("arguments", [("rollback", "bert"), ("prune", "bert", "--keep", "1"), ("show", "bert", "serving")])
def test_an_unknown_model_is_told_what_there_is_by_every_command(three: list[str], arguments: tuple[str, ...]) -> None:
    assert refused(*arguments).endswith("there are: ease, two_tower\n")


# --- verify ---------------------------------------------------------------------------------------------------------------


def test_verify_reads_everything(root: Path, three: list[str]) -> None:
    assert {one["found"] for one in told("verify")} == {"whole"}
    assert ok("verify").count("whole") == 4
    damage(root, three[0])
    result = freshet("verify", "--json")
    assert result.exit_code == 1
    found = {one["version"]: one["found"] for one in json.loads(result.stdout) if one["model"] == MODEL}
    assert "SHA-256" in found[three[0]]
    assert (found[three[1]], found[three[2]]) == ("whole", "whole")
    assert freshet("list").exit_code == 0  # which does not read the arrays


def test_verify_follows_the_pointers(root: Path, three: list[str]) -> None:
    (root / MODEL / three[2]).rename(root / "away")
    result = freshet("verify", "--json")
    assert result.exit_code == 1
    assert {"model": MODEL, "version": three[2], "found": "shadow, but not there"} in json.loads(result.stdout)
    (root / MODEL / STATE).write_text("{")
    assert freshet("verify").exit_code == 1
    assert "broken" in freshet("list").stdout


def test_a_damaged_version_is_not_promoted_and_it_is_no_fault_of_who_asked(root: Path, three: list[str]) -> None:
    damage(root, three[2])
    assert "SHA-256" in refused("promote", MODEL, three[2], "--force", "--reason", "x", status=1)
    assert read_state(root, MODEL).serving == three[1]


# --- help -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_an_example(command: str) -> None:
    shown = ok(command, "--help")
    assert f"freshet models {command}" in shown
    assert "Example" in shown


def test_help_loads_nothing_heavy() -> None:
    heavy = {"numpy", "pydantic", "safetensors", "tensorflow", "keras", "numba"}
    code = f"import sys, ops.models_cli; print(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_registry_works_without_tensorflow() -> None:
    parts = "batch.registry.publish, batch.registry.gate, batch.registry.retention, ops.models_view"
    code = f"import sys, {parts}; print(sorted({{'tensorflow', 'keras', 'faust', 'redis'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
