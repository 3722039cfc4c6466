"""`freshet evaluate prequential`, from the command line to what is printed and drawn."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.small_bank import freshet, write_csv

MODELS = ["popularity_all_time", "popularity_decayed", "co_visitation", "session_knn", "isgd", "bpr", "softmax_mf", "item_vectors"]
METRICS = {"recall@10", "recall@20", "mrr@20", "ndcg@10", "coverage", "mean_popularity", "novelty", "gini"}


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings of the one who runs the tests, wide lines."""
    for name in ("DATA", "DEBUG", "MODEL_SETTINGS"):
        monkeypatch.delenv(f"FRESHET_{name}", raising=False)
    monkeypatch.setenv("COLUMNS", "200")


def test_json_is_one_document_with_the_promised_fields(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "log.csv")
    result = freshet("evaluate", "prequential", path, "--json", "--seed", "11")
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert (document["dataset"], document["events"], document["mode"], document["seed"]) == (str(path), 600, "A", 11)
    assert set(document["models"]) == {*MODELS, "blend_linear", "blend"}
    for name, model in document["models"].items():
        assert model.keys() >= METRICS, name
        low, high = model["recall@10_interval"]
        assert 0 <= low <= model["recall@10"] <= high <= 1
        assert model["minus_reference"]["reference"] == "blend"
    assert document["models"]["blend"]["minus_reference"]["recall@10"] == 0
    assert document["settings"]["seed"] == 11
    assert document["questions"] + document["skipped"]["no_question"] <= 600
    assert document["events_per_second"] > 0
    assert document["peak_memory_mib"] > 10


def test_the_same_seed_gives_the_same_document(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "log.csv", 400)
    one, again = (json.loads(freshet("evaluate", "prequential", path, "--json").stdout)["models"] for _ in range(2))
    assert one == again


def test_mode_b_asks_about_repeats(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "log.csv", 400)
    told = {mode: json.loads(freshet("evaluate", "prequential", path, "--mode", mode, "--json").stdout) for mode in "AB"}
    assert told["B"]["questions"] == 320
    assert told["B"]["settings"]["repeats"] is True
    assert 0 < told["A"]["questions"] < 320
    assert told["A"]["skipped"]["no_question"] > 0


def test_the_table_shows_models_intervals_segments_and_speed(tmp_path: Path) -> None:
    result = freshet("evaluate", "prequential", write_csv(tmp_path / "log.csv"), "--models", "popularity_decayed, co_visitation")
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].split()[:2] == ["model", "recall@10"]
    assert [line.split()[0] for line in lines[1:3]] == ["popularity_decayed", "co_visitation"]
    assert "cold users" in result.stdout
    assert "events/s" in lines[-1]
    assert "MiB" in lines[-1]
    assert "isgd" not in result.stdout


def test_river_is_the_floor_and_the_table_says_that_it_was_sampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ops.evaluate.SAMPLED", 50)
    path = write_csv(tmp_path / "log.csv")
    result = freshet("evaluate", "prequential", path, "--models", "popularity_decayed,river_biased_mf,river_baseline")
    assert result.exit_code == 0, result.stderr
    assert "river_biased_mf *" in result.stdout
    assert "only 50 of the questions" in result.stdout
    alone = json.loads(freshet("evaluate", "prequential", path, "--models", "river_biased_mf", "--json").stdout)
    assert alone["models"]["river_biased_mf"]["questions"] == 50
    assert alone["events_per_second"] is None


def test_the_plot_is_a_picture(tmp_path: Path) -> None:
    path, picture = write_csv(tmp_path / "log.csv"), tmp_path / "curves.png"
    result = freshet("evaluate", "prequential", path, "--models", "popularity_decayed", "--plot", picture)
    assert result.exit_code == 0, result.stderr
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert str(picture) in result.stderr


def test_a_plot_says_what_it_shows(tmp_path: Path) -> None:
    picture = tmp_path / "curves.svg"
    freshet("evaluate", "prequential", write_csv(tmp_path / "log.csv"), "--plot", picture)
    drawn = picture.read_text()
    for text in ("Recall@10, mean of the last", "events learnt so far", "mode A", "warm-up"):
        assert f"<!-- {text}" in drawn or text in drawn, text
    assert all(name in drawn for name in MODELS)


def test_settings_from_a_file_are_used(tmp_path: Path) -> None:
    path, settings = write_csv(tmp_path / "log.csv", 300), tmp_path / "settings.json"
    settings.write_text('{"knn_depth": 5, "seed": 3}')
    told = json.loads(freshet("evaluate", "prequential", path, "--settings", settings, "--json").stdout)
    assert (told["settings"]["knn_depth"], told["seed"]) == (5, 3)
    told = json.loads(freshet("evaluate", "prequential", path, "--settings", settings, "--seed", "4", "--json").stdout)
    assert told["seed"] == 4


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is not JSON"),
        ("[1]", "expected a JSON object"),
        ('{"knn_dept": 5}', "knn_dept"),
        ('{"knn_depth": "x"}', "knn_depth='x'"),
    ],
)
def test_wrong_settings_are_one_line(tmp_path: Path, text: str, said: str) -> None:
    settings = tmp_path / "settings.json"
    settings.write_text(text)
    result = freshet("evaluate", "prequential", write_csv(tmp_path / "log.csv", 50), "--settings", settings)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    assert "settings.json" in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("no-such-file.csv",), "known sources: movietweetings"),
        (("movietweetings",), "FRESHET_DATA is not set"),
        (("synthetic:500", "--models", "blend,oracle"), "'oracle': there is no such model"),
        (("synthetic:500", "--plot", "curves.gif"), "expected a name that ends in .png"),
        (("synthetic:500", "--plot", "nowhere/curves.png"), "there is no folder nowhere"),
        (("synthetic:500", "--settings", "none.json"), "cannot be read"),
        (("synthetic:500", "--user-column", "who"), "--user-column: only for .csv"),
        (("synthetic:500,20,20", "--min-rating", "3"), "no event of synthetic:500,20,20 is a rating"),
        (("synthetic:500", "--mode", "C"), "'C'"),
        (("synthetic:500", "--limit", "0"), "--limit"),
    ],
)
def test_wrong_arguments_are_status_2_at_once(arguments: tuple[str, ...], said: str) -> None:
    result = freshet("evaluate", "prequential", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_bad_rows_are_told_with_line_column_and_value_and_do_not_stop_it(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "log.csv", 300)
    path.write_text(path.read_text() + "u1,i1,yesterday\n")
    result = freshet("evaluate", "prequential", path, "--models", "popularity_decayed", "--json")
    assert result.exit_code == 0
    assert "line 302: timestamp 'yesterday'" in result.stderr
    assert json.loads(result.stdout)["skipped"]["bad_rows"] == 1


def test_a_stream_too_short_to_count_says_so(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("user,item,ts\nu,i,1600000000\nu,i,1600000001\n")
    result = freshet("evaluate", "prequential", path)
    assert result.exit_code == 0
    assert "no event counts" in result.stdout or "model" in result.stdout
    path.write_text("user,item,ts\n")
    result = freshet("evaluate", "prequential", path)
    assert (result.exit_code, "has no events" in result.stderr) == (2, True)


def test_events_of_one_moment_and_a_user_with_everything_are_judged(tmp_path: Path) -> None:
    """All at one timestamp; one user takes 400 items, then the same ones again."""
    path = tmp_path / "log.csv"
    rows = [f"u,i{number % 400},1600000000" for number in range(500)] + [f"v{number},i1,1600000000" for number in range(100)]
    path.write_text("\n".join(["user,item,ts", *rows]))
    for mode in "AB":
        result = freshet("evaluate", "prequential", path, "--mode", mode, "--json")
        assert result.exit_code == 0, result.stderr
        document = json.loads(result.stdout, parse_constant=pytest.fail)  # NaN is no JSON
        assert document["models"]["popularity_all_time"]["recall@10"] > 0
