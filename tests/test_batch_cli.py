"""`freshet batch train`: from a file to tables, JSON, a page, TensorBoard and trained models."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file
from typer.testing import CliRunner

from batch.datasets.splits import leave_one_out
from batch.models.interface import Epoch, Watch
from batch.models.linear_recurrence import LinearRecurrence
from ops.batch_cli import batch_app
from ops.batch_source import read_log
from ops.batch_tensorboard import Traces
from ops.evaluate_source import Asked
from schemas.errors import InvalidInput
from stream_workers.models.deep.item_scores import ItemScores
from stream_workers.models.deep.loading import load_scorer
from stream_workers.models.deep.scorer import Query
from tests.tiny_log import tiny_log

LOG = tiny_log()


@pytest.fixture
def events(tmp_path: Path) -> str:
    path = tmp_path / "events.csv"
    rows = zip(LOG.users.tolist(), LOG.items.tolist(), LOG.timestamps.tolist(), strict=True)
    path.write_text("user,item,timestamp,type\n" + "".join(f"u{user},i{item},{time},view\n" for user, item, time in rows))
    return str(path)


def run(*arguments: str) -> tuple[int, str, BaseException | None]:
    done = CliRunner().invoke(batch_app, ["train", *arguments])
    return done.exit_code, done.stdout, done.exception


def test_it_begins_with_weights_that_out_left(events: str, tmp_path: Path) -> None:
    settings = tmp_path / "quick.json"
    settings.write_text('{"mult_dae": {"width": 8, "epochs": 1}}')
    command = ("mult_dae", "--data", events, "--settings", str(settings), "--json")
    code, _, error = run(*command, "--out", str(tmp_path / "out"))
    assert code == 0, error
    saved = str(tmp_path / "out" / "mult_dae.weights.npz")
    code, shown, error = run(*command, "--from", saved)
    assert code == 0, error
    assert json.loads(shown)["models"][0]["began"].startswith(f"began with {saved}: ")
    assert isinstance(run(*command, "--from", str(tmp_path / "none.npz"))[2], InvalidInput)
    assert isinstance(run("ease", *command, "--from", saved)[2], InvalidInput)
    code, shown, error = run("ease", "--data", events, "--json", "--from", saved)
    assert (code, json.loads(shown)["models"][0]["began"]) == (0, "the model has no use for weights"), error


def test_a_file_becomes_a_log(events: str) -> None:
    log = read_log(Asked(events), None)
    assert (log.size, len(log.user_ids), log.catalogue.size) == (LOG.size, 60, 32)
    named = [(log.user_ids[u][1:], log.catalogue.ids[i][1:]) for u, i in zip(log.users[:20], log.items[:20], strict=True)]
    assert named == [(str(u), str(i)) for u, i in zip(LOG.users[:20].tolist(), LOG.items[:20].tolist(), strict=True)]


def test_only_what_speaks_for_an_item_is_learnt(tmp_path: Path) -> None:
    path = tmp_path / "mixed.csv"
    kinds = ("view", "dislike", "like", "hide", "purchase")
    path.write_text("user,item,timestamp,type\n" + "".join(f"u,i{n},170000000{n},{kind}\n" for n, kind in enumerate(kinds)))
    log = read_log(Asked(str(path)), None)
    assert [log.catalogue.ids[row] for row in log.items] == ["i0", "i2", "i4"]
    path.write_text("user,item,timestamp,type\nu,i,1700000000,dislike\n")
    with pytest.raises(InvalidInput, match="none of its 1 events speaks for an item"):
        read_log(Asked(str(path)), None)


def test_train_writes_all_that_was_asked_for(events: str, tmp_path: Path) -> None:
    out, html = tmp_path / "out", tmp_path / "page.html"
    asked = ("--data", events, "--split", "leave-one-out", "--out", str(out), "--html", str(html), "--json")
    code, shown, error = run("popularity", "co_visitation", *asked)
    assert code == 0, error
    document = json.loads(shown)
    assert [model["name"] for model in document["models"]] == ["popularity", "co_visitation"]
    assert json.loads((out / "report.json").read_text()) == document
    assert "co_visitation" in html.read_text()
    with safe_open(out / "co_visitation.safetensors", "numpy") as file:
        facts = file.metadata()
    scorer = load_scorer(facts["kind"], load_file(out / "co_visitation.safetensors"), json.loads(facts["settings"]))
    assert np.isfinite(scorer.score([Query.of([1, 2])])).all()
    assert not list(out.glob("*.checkpoint.npz"))


def test_train_prints_tables(events: str) -> None:
    code, shown, error = run("popularity", "ease", "--data", events)
    assert code == 0, error
    assert re.search(r"^ease +\d\.\d{4} +\d\.\d{4} - \d\.\d{4}", shown, re.MULTILINE)
    assert "split future, seed 1" in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("mystery",), "no batch model 'mystery'"),
        (("ease", "ease"), "named twice"),
        (("ease", "--html", "page.pdf"), "--html page.pdf"),
        (("ease", "--min-rating", "3"), "no event of .* is a rating"),
        (("ease", "--limit", "2"), "cannot be cut in three"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_trained(events: str, arguments: tuple[str, ...], said: str) -> None:
    code, shown, error = run(*arguments, "--data", events)
    assert (code, shown) == (1, "")
    assert isinstance(error, InvalidInput)
    assert re.search(said, str(error))


def test_a_killed_training_of_a_model_goes_on(tmp_path: Path) -> None:
    parts, saved, model = leave_one_out(LOG), str(tmp_path / "m.npz"), LinearRecurrence(epochs=4, patience=4, batch=32)

    class Killed(BaseException):
        pass

    def kill(number: int, epoch: Epoch) -> None:
        if number == 2:
            raise Killed

    with pytest.raises(Killed):
        model.fit(parts.train, parts.validation, seed=1, watch=Watch(log=kill, checkpoint=saved))
    numbers: list[int] = []
    watch = Watch(log=lambda number, _: numbers.append(number), checkpoint=saved)
    resumed = model.fit(parts.train, parts.validation, seed=1, watch=watch)
    assert numbers == [2, 3]
    assert np.isfinite(resumed.score([Query.of([1, 2, 3])])).all()
    with pytest.raises(InvalidInput, match="of another training"):
        model.fit(parts.train, parts.validation, seed=2, watch=watch)


def test_tensorboard_has_curves_and_vectors_with_names(tmp_path: Path) -> None:
    vectors = np.random.default_rng(1).random((LOG.catalogue.size, 4)).astype(np.float32)

    class Vectors(ItemScores):
        def arrays(self) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
            return {"item_vectors": vectors}

    with Traces(tmp_path / "model", LOG) as traces:
        traces.epoch(0, Epoch(2.0, 0.1))
        traces.epoch(1, Epoch(1.0, 0.2))
        traces.embeddings(Vectors(vectors[:, 0]))
    folder = tmp_path / "model"
    assert len((folder / "vectors.tsv").read_text().splitlines()) == LOG.catalogue.size
    lines = (folder / "metadata.tsv").read_text().splitlines()
    assert (lines[0], lines[1]) == ("item\ttitle\tcategories\tyear", "item0\tgroup0 number 0\tgroup0\t1980")
    assert "vectors.tsv" in (folder / "projector_config.pbtxt").read_text()
    written = b"".join(path.read_bytes() for path in folder.glob("events.out.*"))
    assert b"loss" in written
    assert b"validation" in written
