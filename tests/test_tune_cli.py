"""`freshet tune`: what it looks at, what it writes, what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson

from stream_workers.models.online.settings import BankSettings
from tests.small_bank import freshet, write_csv


def _tuned(path: Path, out: Path, *more: str) -> dict[str, Any]:
    result = freshet("tune", path, "--trials", "3", "--out", out, "--json", *more)
    assert result.exit_code == 0, result.stderr
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def test_tuning_never_looks_at_later_events(tmp_path: Path) -> None:
    """The same first fifth with another future: the same trials, scores and file."""
    path, other = write_csv(tmp_path / "log.csv", 2500), tmp_path / "other.csv"
    rows = path.read_text().splitlines()
    future = [",".join((f"x{at % 7}", f"new{at % 3}", row.split(",")[2])) for at, row in enumerate(rows[501:])]
    other.write_text("\n".join([*rows[:501], *future]) + "\n")
    one, two = _tuned(path, tmp_path / "one.json"), _tuned(other, tmp_path / "two.json")
    assert one["warm_up_events"] == 500
    assert max(trial["questions"] for trial in one["trials"]) <= 500
    assert one["trials"] == two["trials"]
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()


def test_tuned_settings_are_what_evaluate_reads(tmp_path: Path) -> None:
    path, out = write_csv(tmp_path / "log.csv", 2500), tmp_path / "chosen.json"
    told = _tuned(path, out, "--mode", "B", "--seed", "5")
    written = orjson.loads(out.read_bytes())
    assert BankSettings.from_mapping(dict(written)) == BankSettings.from_mapping(told["settings"])
    assert told["chosen"]["blend"] >= told["default"]["blend"]
    result = freshet("evaluate", "prequential", path, "--limit", "300", "--settings", out, "--json")
    assert {name: json.loads(result.stdout)["settings"][name] for name in written} == written


def test_tune_prints_its_trials_and_refuses_what_is_too_short(tmp_path: Path) -> None:
    result = freshet("tune", write_csv(tmp_path / "log.csv", 2200), "--trials", "2", "--out", tmp_path / "s.json")
    assert result.exit_code == 0, result.stderr
    assert "ndcg@10" in result.stdout
    assert "defaults" in result.stdout
    assert str(tmp_path / "s.json") in result.stdout
    short = freshet("tune", write_csv(tmp_path / "short.csv", 100), "--out", tmp_path / "s.json")
    assert (short.exit_code, "at least 400 are needed" in short.stderr) == (2, True)
    nowhere = freshet("tune", write_csv(tmp_path / "short.csv", 100), "--out", tmp_path / "no" / "s.json")
    assert (nowhere.exit_code, "there is no folder" in nowhere.stderr) == (2, True)
