"""Slates: what is read, what is refused, that no feature knows the future, and how orders are judged."""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from subprocess import run

import numpy as np
import pytest
import pytrec_eval

from batch.slates.columns import NEVER, NO_ITEM, Slates, split_by_time
from batch.slates.content import bag_vectors, item_vectors, normal_scores
from batch.slates.features import GROUPS, feature_table, usual_patience
from batch.slates.judging import quality, ranked
from batch.slates.neighbours import Neighbours
from batch.slates.reading import read_slates, slates_of
from batch.slates.strength import ItemStrengths, matched_probabilities
from schemas.errors import InvalidInput
from tests.slate_world import DELAY, START, as_contract, ranklens_lines, write_lines


@pytest.fixture(scope="module")
def slates(tmp_path_factory: pytest.TempPathFactory) -> Slates:
    return read_slates(write_lines(tmp_path_factory.mktemp("slates") / "events.jsonl.gz", ranklens_lines(200))).slates


def lines_of(*lines: object) -> list[tuple[int, bytes]]:
    return [(number, line if isinstance(line, bytes) else json.dumps(line).encode()) for number, line in enumerate(lines, start=1)]


def test_a_file_of_ranklens_form_becomes_columns(tmp_path: Path) -> None:
    lines = ranklens_lines(20, items=12, width=4)
    found = read_slates(write_lines(tmp_path / "events.jsonl", lines))
    read, shown = found.slates, [line for line in lines if line["event"] == "ranking"]
    clicks = {(line["ranking"], line["item"]) for line in lines if line["event"] == "interaction"}
    assert found.faults == (len(lines), 0, ())
    assert [[read.content.ids[item] for item in row] for row in read.items] == [[i["id"] for i in line["items"]] for line in shown]
    assert read.times.tolist() == [int(line["timestamp"]) for line in shown]
    assert [read.session_ids[session] for session in read.sessions] == [line["session"] for line in shown]
    told = {(read.ids[s], read.content.ids[read.items[s, p]]) for s, p in np.argwhere(read.clicked)}
    assert told == clicks
    assert set((read.click_times - read.times[:, None])[read.clicked]) == {DELAY}
    assert read.content.texts[0] == "film 0"
    assert read.content.people[0] == ("person 0",)
    assert read.content.number_names == ("votes",)


def test_a_folder_its_file_and_the_contracts_own_events_give_the_same_slates(tmp_path: Path) -> None:
    lines = ranklens_lines(30, items=12, width=4)
    whole = read_slates(write_lines(tmp_path / "events.jsonl.gz", lines)).slates
    in_folder = read_slates(tmp_path).slates
    contract = read_slates(write_lines(tmp_path / "contract.jsonl", as_contract(lines))).slates
    for other in (in_folder, contract):
        for name in ("items", "click_times", "times", "sessions"):
            assert np.array_equal(getattr(whole, name), getattr(other, name)), name
        assert (other.ids, other.session_ids) == (whole.ids, whole.session_ids)
        assert other.content._replace(numbers=whole.content.numbers) == whole.content


def test_garbage_is_counted_and_named_and_the_rest_is_read(tmp_path: Path) -> None:
    lines = ranklens_lines(20, items=12, width=4)
    ranking = next(line for line in lines if line["event"] == "ranking")
    garbage: list[object] = [
        b"\xff not json",
        [1],
        {"event": "purchase"},
        {**ranking, "id": "new", "timestamp": "yesterday"},
        {**ranking, "id": "new", "timestamp": 10**30},
        {**ranking, "id": "new", "items": [{"id": "i1"}, {"id": "i1"}]},
        {**ranking, "id": "new", "items": []},
        {**ranking, "id": "new", "items": 3},
        ranking,
        {"event": "interaction", "ranking": "nobody", "item": "i1", "timestamp": START},
        {"event": "interaction", "ranking": ranking["id"], "item": "i-unseen", "timestamp": START},
        {"event": "interaction", "ranking": ranking["id"], "item": ranking["items"][0]["id"], "timestamp": START - 1},
    ]
    clean, dirty = slates_of(lines_of(*lines)), slates_of(lines_of(*lines, *garbage))
    assert dirty.faults.bad == len(garbage)
    assert dirty.faults.first[0].startswith(f"line {len(lines) + 1}: ")
    assert np.array_equal(clean.slates.click_times, dirty.slates.click_times)


def test_a_click_that_comes_twice_counts_once_at_its_first_time() -> None:
    lines = ranklens_lines(20, items=12, width=4)
    click = next(line for line in lines if line["event"] == "interaction")
    later = {**click, "timestamp": str(int(click["timestamp"]) + 9)}
    again = slates_of(lines_of(later, *lines, click, later))
    assert again.faults.bad == 0
    assert np.array_equal(again.slates.click_times, slates_of(lines_of(*lines)).slates.click_times)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("events.jsonl", b"", "0 slates and 0 clicks"),
        ("events.jsonl", b"user,item\n1,2\n", "2 of 2 lines are bad: line 1: "),
        ("events.jsonl.gz", b"not gzip", "gzipped"),
        ("events.jsonl.gz", gzip.compress(b"{}\n" * 5000)[:-20], "cannot be read"),
        ("films.csv", b"", "0 slates"),
        ("other.txt", None, "there is no file"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, name: str, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidInput, match=said):
        read_slates(tmp_path / name)


def test_a_folder_without_events_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"neither events\.jsonl\.gz nor events\.jsonl"):
        read_slates(tmp_path)


def test_the_split_is_by_time_and_divides_no_moment(slates: Slates) -> None:
    split = split_by_time(slates)
    times = slates.times
    assert times[split.fit].max() < times[split.validation].min() <= times[split.validation].max() < split.boundary
    assert times[split.test].min() == split.boundary
    assert sorted((*split.train, *split.test)) == list(range(slates.size))
    together = slates._replace(times=np.where(np.arange(slates.size) < 150, times, times[150]))
    assert split_by_time(together).test.tolist() == list(range(150, 200))


def test_too_few_slates_are_refused(slates: Slates) -> None:
    with pytest.raises(InvalidInput, match="none of the training part"):
        split_by_time(slates._replace(times=np.full(slates.size, START)))


def scrambled(slates: Slates, moment: int, seed: int) -> Slates:
    """Another future: every click at or after the moment is taken away, others are made up, later slates show other items."""
    rng = np.random.default_rng(seed)
    known = slates.click_times < moment
    invented = np.where(rng.random(known.shape) < 0.5, np.maximum(slates.times[:, None], moment) + 1, NEVER)
    items = slates.items.copy()
    later = slates.times > moment
    items[later] = rng.permuted(items[later], axis=1)
    return slates._replace(items=items, click_times=np.where(known, slates.click_times, invented))


@pytest.mark.parametrize("at", [3, 60, 150, 199])
def test_no_feature_knows_the_future(slates: Slates, at: int) -> None:
    moment = int(slates.times[at])
    until = slates.times <= moment
    before = feature_table(slates, DELAY).values
    other = scrambled(slates, moment, seed=at)
    assert not np.array_equal(other.click_times, slates.click_times)
    after = feature_table(other, DELAY).values
    assert np.array_equal(before[until], after[until])
    if at < 150:
        assert not np.array_equal(before[~until], after[~until])


def test_an_outcome_counts_only_when_its_time_is_over(slates: Slates) -> None:
    counted = feature_table(slates, DELAY).column("shown")
    fourth, sixth = counted[4], counted[6]
    assert np.all(fourth == 0)  # the first slate was shown 4 s ago: it is still open
    shown = np.isin(slates.items[6], slates.items[0])
    assert sixth[shown].tolist() == [np.log1p(np.float32(1))] * int(shown.sum())
    assert np.all(sixth[~shown] == 0)


def test_features_have_names_and_groups_and_are_finite(slates: Slates) -> None:
    table = feature_table(slates, usual_patience(slates, np.arange(slates.size)))
    assert table.values.shape == (*slates.items.shape, len(table.names))
    assert len(set(table.names)) == len(table.names) == len(table.groups)
    assert set(table.groups) == set(GROUPS)
    assert np.isfinite(table.values).all()
    assert usual_patience(slates, np.arange(slates.size)) == DELAY


def test_slates_of_unequal_length_and_bare_items_have_features() -> None:
    lines = [line for line in ranklens_lines(40, items=12, width=4) if line["event"] != "item"]
    for line in lines[:60]:
        if line["event"] == "ranking" and line["id"] != "s0":
            line["items"] = line["items"][:3]
    read = slates_of(lines_of(*lines)).slates
    table = feature_table(read, DELAY)
    assert read.items[1, 3] == NO_ITEM
    assert np.isfinite(table.values).all()
    assert np.all(table.values[~read.shown] == 0)


def test_strengths_learn_who_wins_and_leave_the_slates_own_level_out() -> None:
    rng, truth = np.random.default_rng(3), np.linspace(-2, 2, 20)
    strengths = ItemStrengths(np.zeros((20, 1)), own_sd=1.0)
    for _ in range(1500):
        items = rng.permutation(20)[:6]
        mood = rng.normal(0, 2)
        clicked = rng.random(6) < 1 / (1 + np.exp(-(truth[items] + mood)))
        if 0 < clicked.sum() < 6:
            strengths.learn(items, clicked)
    assert np.corrcoef(strengths.of(np.arange(20)), truth)[0, 1] > 0.97


def test_content_speaks_for_a_new_item() -> None:
    content = np.repeat([[1.0], [-1.0]], 5, axis=0)
    strengths = ItemStrengths(content)
    for _ in range(100):
        strengths.learn(np.array([0, 1, 5, 6]), np.array([True, True, False, False]))
    assert strengths.of(np.array([4]))[0] > strengths.of(np.array([9]))[0] + 0.5


@pytest.mark.parametrize("clicks", [1, 3, 5])
def test_expected_clicks_are_those_that_came(clicks: int) -> None:
    assert matched_probabilities(np.array([-6.0, 0.0, 1.0, 2.0, 9.0, 0.5]), clicks).sum() == pytest.approx(clicks, abs=1e-6)


def test_neighbours_are_the_sums_over_all_pairs() -> None:
    rng = np.random.default_rng(5)
    residuals, own = rng.normal(size=(7, 4)), rng.normal(size=2)
    neighbours = Neighbours(4)
    for session, row in enumerate(residuals):
        neighbours.learn(session, np.arange(4), row)
    neighbours.learn(9, np.array([0, 1]), own)
    told = neighbours.features(9, np.array([0, 1]), own, np.array([2, 3]))
    wanted = (residuals @ [own[0], own[1], 0, 0]) @ residuals[:, 2:]
    assert told[:, 0] == pytest.approx(wanted)
    assert told[:, 1] == pytest.approx(wanted / 17)


def test_alike_bags_have_alike_vectors_whatever_their_number() -> None:
    few = bag_vectors([["a", "b"], ["a", "b"], ["c", "d"], ["c", "d"], []])
    many = bag_vectors([[f"w{(n + k) % 90}" for k in range(8)] for n in range(90)], dimensions=16)
    assert few[0] @ few[1] == pytest.approx(1)
    assert few[0] @ few[2] == pytest.approx(0)
    assert np.all(few[4] == 0)
    assert many.shape == (90, 16)
    assert many[0] @ many[1] > 0.8 > 0.3 > many[0] @ many[45]
    assert bag_vectors([[], []]).shape == (2, 0)


def test_numbers_lose_unit_and_skew_but_not_order(slates: Slates) -> None:
    values = np.array([3.0, np.nan, 1.0, 3.0, 900.0])
    assert normal_scores(values) == pytest.approx(normal_scores(np.log(values)))
    assert normal_scores(values)[1] == 0
    assert np.all(normal_scores(np.full(3, np.nan)) == 0)
    assert item_vectors(slates.content).numbers.shape == (slates.content.size, 1)


@pytest.mark.parametrize("seed", range(3))
def test_quality_agrees_with_trec_eval(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, clicked = rng.normal(size=(30, 15)), rng.random((30, 15)) < 0.25
    shown = np.arange(15) < rng.integers(3, 16, size=30)[:, None]
    clicked &= shown
    clicked[0] = False
    run_ = {f"q{u}": {f"d{p}": float(scores[u, p]) for p in np.flatnonzero(shown[u])} for u in range(30)}
    wanted = {f"q{u}": {f"d{p}": 1 for p in np.flatnonzero(clicked[u])} for u in range(30) if clicked[u].any()}
    told = pytrec_eval.RelevanceEvaluator(wanted, {"ndcg_cut.10", "recip_rank"}).evaluate(run_)
    found = quality(scores, shown, clicked, seed)
    assert found.ndcg == pytest.approx([told[f"q{u}"]["ndcg_cut_10"] for u in range(30) if clicked[u].any()])
    assert found.reciprocal_rank == pytest.approx([told[f"q{u}"]["recip_rank"] for u in range(30) if clicked[u].any()])


def test_ties_are_broken_by_the_lot_of_the_seed() -> None:
    scores, shown = np.zeros((200, 5)), np.ones((200, 5), bool)
    first = ranked(scores, shown, 1)
    assert np.array_equal(first, ranked(scores, shown, 1))
    assert not np.array_equal(first, ranked(scores, shown, 2))
    assert np.bincount(first[:, 0], minlength=5).min() > 20


def test_a_list_that_was_clicked_throughout_scores_1_and_one_without_clicks_is_left_out() -> None:
    clicked = np.array([[True, True], [False, False]])
    assert quality(np.zeros((2, 2)), np.ones((2, 2), bool), clicked, 0).ndcg.tolist() == [1.0]


def test_reading_and_features_load_no_tensorflow() -> None:
    code = (
        "import sys, batch.slates.reading, batch.slates.features, ops.slates_cli, ops.slates_show, "
        "stream_workers.models.deep.ranker; print({'tensorflow', 'keras', 'lightgbm'} & set(sys.modules))"
    )
    assert run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "set()"
