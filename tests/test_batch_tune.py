"""The search of settings: finds what is planted, goes on after a kill, never looks at the test, and its file is understood."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from typer.testing import CliRunner

import batch.models.catalogue as catalogue
from batch.datasets.interactions import InteractionLog
from batch.datasets.splits import split
from batch.models.catalogue import CATALOGUE, Entry, model_class
from batch.models.configured import configured
from batch.models.interface import BatchModel, Epoch, OneOf, Space, Span, TrainingFailed, Watch
from batch.tuning import Budget, Found, search
from ops.batch_cli import batch_app
from ops.batch_settings import read_chosen, write_chosen
from ops.batch_tune import Search, changed, tune
from schemas.errors import InvalidInput, InvalidSettings
from stream_workers.models.deep.item_scores import ItemScores
from tests.tiny_log import tiny_log

PARTS = split(tiny_log(), "future")


class Killed(BaseException):
    """Stands for the kill: nothing catches it."""


@dataclass(frozen=True)
class Planted(BatchModel):
    """Best where reach is 10, steps are 6 and kind is 2; the defaults are far from it."""

    reach: float = 90.0
    steps: int = 1
    kind: int = 1

    name = "planted"
    space: ClassVar[Space] = {"reach": Span(1.0, 100.0, log=True), "steps": Span(1, 9), "kind": OneOf((1, 2, 3))}
    asked: ClassVar[list[tuple[float, int, int]]] = []
    seen: ClassVar[list[InteractionLog]] = []
    kill_at: ClassVar[int] = 0
    fail_at: ClassVar[int] = 0

    def fit(self, train: InteractionLog, later: InteractionLog, *, seed: int, watch: Watch = Watch()) -> ItemScores:  # noqa: B008
        self.asked.append((self.reach, self.steps, self.kind))
        self.seen.extend((train, later))
        if len(self.asked) == self.kill_at:
            raise Killed
        if len(self.asked) == self.fail_at:
            raise TrainingFailed("planted: the loss is nan")
        far = math.log(self.reach / 10) ** 2 + (self.steps - 6) ** 2 / 9 + (self.kind != 2)
        watch.log(0, Epoch(1.0, 1 / (1 + far)))
        return ItemScores(np.zeros(train.catalogue.size, np.float32))


@pytest.fixture(autouse=True)
def planted(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Planted]]:
    monkeypatch.setattr(catalogue, "CATALOGUE", (*CATALOGUE, Entry("planted", f"{__name__}:Planted", deep=True)))
    Planted.asked.clear()
    Planted.seen.clear()
    yield model_class("planted")  # type: ignore[misc]
    model_class("planted").kill_at = model_class("planted").fail_at = 0  # type: ignore[attr-defined]


def searched(path: Path, trials: int = 30, study: str = "one") -> Found:
    return search("planted", PARTS.train, PARTS.validation, Budget(trials), path / "trials.journal", study=study, seed=1)


def test_it_finds_what_is_planted_and_tries_the_defaults_first(tmp_path: Path) -> None:
    found = searched(tmp_path)
    assert len(found.trials) == len(Planted.asked) == 30
    assert Planted.asked[0] == (90.0, 1, 1)
    best = found.best.settings
    assert 4 < best["reach"] < 25
    assert abs(best["steps"] - 6) <= 1
    assert best["kind"] == 2
    qualities = [trial.quality for trial in found.trials]
    assert qualities == sorted(qualities, reverse=True)  # type: ignore[type-var]


def test_a_killed_search_goes_on_where_it_was(tmp_path: Path, planted: type[Planted]) -> None:
    planted.kill_at = 6
    with pytest.raises(Killed):
        searched(tmp_path, 10)
    lost = Planted.asked[5]
    planted.kill_at = 0
    found = searched(tmp_path, 10)
    assert found.resumed == 5
    assert Planted.asked[6] == lost
    assert len(found.trials) == 10
    assert len(Planted.asked) == 11
    assert len(set(Planted.asked)) == 10
    assert searched(tmp_path, 10).trials == found.trials
    assert len(Planted.asked) == 11
    assert searched(tmp_path, 2, study="another").resumed == 0


def test_a_training_that_fails_costs_one_trial(tmp_path: Path, planted: type[Planted]) -> None:
    planted.fail_at = 3
    found = searched(tmp_path, 5)
    assert len(found.trials) == len(Planted.asked) == 5
    assert found.trials[-1].quality is None
    assert found.best.quality is not None


def test_nothing_but_failures_is_an_error(tmp_path: Path, planted: type[Planted]) -> None:
    planted.fail_at = 1
    with pytest.raises(TrainingFailed, match="none of 1 trials"):
        assert searched(tmp_path, 1).best


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        (Budget(0), "--budget 0: expected at least 1"),
        (Budget(None, 0.0), "--minutes 0.0: expected more"),
        (Budget(None, math.nan), "--minutes nan"),
        (Budget(), "needs an end"),
    ],
)
def test_a_bad_budget_is_a_clear_error(tmp_path: Path, budget: Budget, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        search("planted", PARTS.train, PARTS.validation, budget, tmp_path / "trials", study="one", seed=1)
    assert not list(tmp_path.iterdir())


def test_minutes_end_it_too(tmp_path: Path) -> None:
    budget = Budget(None, 1e-4)
    found = search("planted", PARTS.train, PARTS.validation, budget, tmp_path / "trials", study="one", seed=1)
    assert 1 <= len(found.trials) < 50


def test_a_model_without_a_space_and_a_broken_journal_are_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="popularity has nothing to search"):
        search("popularity", PARTS.train, PARTS.validation, Budget(1), tmp_path / "trials", study="one", seed=1)
    (tmp_path / "trials.journal").write_text("no journal\n")
    with pytest.raises(InvalidInput, match=r"trials\.journal cannot be used"):
        searched(tmp_path, 1)


def test_the_test_part_is_not_looked_at_and_the_file_is_understood(tmp_path: Path) -> None:
    asked = Search("tiny", "planted", "future", Budget(12), 1, tmp_path / "s.json", tmp_path / "s.journal")
    write_chosen(asked.out, "two_tower", {"width": 32})
    found = tune(tiny_log(), asked, lambda line: None, lambda done, total: None)
    newest = max(int(log.timestamps[-1]) for log in Planted.seen)
    assert newest < PARTS.test.timestamps[0]
    assert read_chosen(asked.out) == {"two_tower": {"width": 32}, "planted": changed(found)}
    assert configured("planted", changed(found)) == Planted(**found.best.settings)


@pytest.mark.parametrize("name", [one.name for one in CATALOGUE])
def test_what_is_searched_are_settings_and_the_defaults_are_among_it(name: str) -> None:
    kind = model_class(name)
    usual = {field.name: field.default for field in fields(kind)}  # type: ignore[arg-type]
    for setting, choice in kind.space.items():
        value: Any = usual[setting]
        if isinstance(choice, OneOf):
            assert value in choice.options, setting
            kind(**{setting: choice.options[-1]})
        else:
            assert choice.low <= value <= choice.high, setting
            assert isinstance(choice.low, int) == isinstance(choice.high, int) == isinstance(value, int), setting
    assert bool(kind.space) == next(one.deep for one in CATALOGUE if one.name == name)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "expected settings by model"),
        ('{"two_tower": 3}', "expected settings by model"),
        ("{", "not JSON"),
        ('{"planted": {"speed": 1}}', "planted has no setting speed; it has reach, steps, kind"),
        ('{"planted": {"steps": "many"}}', "steps='many'"),
        ('{"planted": {"steps": 1.5}}', "steps=1.5"),
        ('{"two_tower": {"epochs": 0}}', "two_tower: epochs=0"),
        ('{"two_tower": {"rate": -1.0}}', "two_tower: rate=-1"),
    ],
)
def test_a_settings_file_that_does_not_fit_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "s.json"
    path.write_text(text)
    with pytest.raises(InvalidSettings, match=said):
        read_chosen(path)
    with pytest.raises(InvalidSettings):
        write_chosen(path, "planted", {})
    assert path.read_text() == text


def test_lists_become_tuples() -> None:
    assert configured("wide_deep", {"layers": [8, 4], "half_lives": [6, 24.0]}).layers == (8, 4)  # type: ignore[attr-defined]


def test_the_command_searches_and_trains_with_what_it_found(tmp_path: Path) -> None:
    log, path = tiny_log(), tmp_path / "events.csv"
    rows = zip(log.users.tolist(), log.items.tolist(), log.timestamps.tolist(), strict=True)
    path.write_text("user,item,timestamp,type\n" + "".join(f"u{user},i{item},{time},view\n" for user, item, time in rows))
    out = tmp_path / "s.json"
    arguments = ["planted", "--data", str(path), "--budget", "6", "--out", str(out)]
    done = CliRunner().invoke(batch_app, ["tune", *arguments, "--json"])
    assert done.exit_code == 0, done.exception
    document = json.loads(done.stdout)
    assert len(document["trials"]) == 6
    assert document["settings"] == read_chosen(out)["planted"]
    assert (tmp_path / "s.journal").exists()
    shown = CliRunner().invoke(batch_app, ["tune", *arguments])
    assert "quality" in shown.stdout
    assert len(Planted.asked) == 6
    trained = CliRunner().invoke(batch_app, ["train", "planted", "--data", str(path), "--settings", str(out), "--json"])
    assert trained.exit_code == 0, trained.exception
    assert dict(zip(("reach", "steps", "kind"), Planted.asked[-1], strict=True)).items() >= document["settings"].items()
    bad = CliRunner().invoke(batch_app, ["tune", *arguments[:3], "--budget", "0"])
    assert isinstance(bad.exception, InvalidInput)
