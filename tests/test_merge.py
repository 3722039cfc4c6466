"""`freshet evaluate merge`: the arms answer the same questions, and no model is told of what comes after its beginning."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from ops.cli import app
from ops.evaluate_source import Asked
from ops.merge import Merged, Plan, as_document, merge
from schemas.errors import InvalidInput
from stream_workers.models.online.settings import BankSettings

SMALL = BankSettings(vector_size=8, mf_size=8, covisit_neighbours=32)
STREAM = "synthetic:1500,80,60,3"


def run(source: str = STREAM, models: tuple[str, ...] = ("co_visitation",), begin: float = 0.5, retrains: int = 3) -> Merged:
    return merge(Plan(Asked(source), "A", models, begin, retrains), None, SMALL, lambda line: None)


@pytest.fixture(scope="module")
def done() -> Merged:
    return run()


def test_all_arms_answer_the_same_questions(done: Merged) -> None:
    assert list(done.arms) == ["alone", "trained_once", "retrained"]
    assert {len(hits) for arm in done.arms.values() for hits in arm.hits.values()} == {done.questions}
    assert 0 < done.questions <= done.events / 2
    assert [arm.trainings for arm in done.arms.values()] == [0, 1, 3]
    assert [set(arm.hits) for arm in done.arms.values()] == [{"blend"}, *[{"blend", "co_visitation"}] * 2]


def test_retraining_changes_what_the_model_says_from_the_second_training_on(done: Merged) -> None:
    once, again = (done.arms[name].hits["co_visitation"] for name in ("trained_once", "retrained"))
    different = np.flatnonzero(once != again)
    assert len(different)
    assert different.min() > 0.2 * done.questions, "until then it is the same model"


def test_the_document_says_what_the_arms_say(done: Merged) -> None:
    document = as_document(done)
    alone, retrained = (document["arms"][name]["recall@10"] for name in ("alone", "retrained"))
    assert document["batch_gain_over_nearline"] == pytest.approx(retrained["blend"] / alone["blend"] - 1)
    assert document["merge_gain_over_batch"] == pytest.approx(retrained["blend"] / retrained["co_visitation"] - 1)
    assert document["differences"]["retrained - alone"]["recall@10"] == pytest.approx(retrained["blend"] - alone["blend"])


def test_a_model_knows_nothing_of_what_comes_after_its_training(tmp_path: Path) -> None:
    """Scramble the items of everything behind the second training: until then no answer changes."""
    rng = np.random.default_rng(4)
    rows = [(f"u{rng.integers(40)}", f"i{int(30 * rng.random() ** 2)}", 1_700_000_000 + 60 * n) for n in range(900)]
    found = []
    for name, scrambled in (("one.csv", False), ("two.csv", True)):
        later = [(user, f"i{rng.integers(30)}" if scrambled else item, at) for user, item, at in rows[750:]]
        path = tmp_path / name
        path.write_text("user_id,item_id,timestamp\n" + "".join(f"{u},{i},{t}\n" for u, i, t in [*rows[:750], *later]))
        found.append(run(str(path), retrains=2))
    before = int(0.4 * min(one.questions for one in found))
    for arm in ("alone", "trained_once", "retrained"):
        first, second = (one.arms[arm].hits for one in found)
        assert all(np.array_equal(first[who][:before], second[who][:before]) for who in first)


@pytest.mark.parametrize(
    ("change", "said"),
    [({"models": ()}, "one to 2"), ({"models": ("ease", "ials", "item2vec")}, "one to 2"), ({"models": ("nobody",)}, "nobody"),
     ({"begin": 0.0}, "between 0 and 1"), ({"begin": 1.0}, "between 0 and 1")],
)  # fmt: skip
def test_bad_plans_are_refused_before_anything_is_read(change: dict[str, object], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        run(**change)  # type: ignore[arg-type]


def test_the_command_prints_a_table_or_json() -> None:
    options = ["evaluate", "merge", "synthetic:600,40,30,3", "--models", "popularity", "--retrains", "2"]
    table = CliRunner().invoke(app, options)
    assert table.exit_code == 0, table.output
    assert "nearline blend alone" in table.output
    told = CliRunner().invoke(app, [*options, "--json"])
    assert json.loads(told.stdout)["arms"]["retrained"]["trainings"] == 2
