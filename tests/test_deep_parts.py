"""The parts of the deep models: cold items, annealing, point-in-time features, crosses, ratings, text, the projector's files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from google.protobuf import text_format
from tensorboard.plugins.projector import ProjectorConfig

from batch.models.autoencoders import Sampling, annealed
from batch.models.autorec import AutoRec, rating_error, rating_errors
from batch.models.candidates import InBatch, Mixture
from batch.models.content import content_of
from batch.models.item2vec import Item2Vec, texts_of
from batch.models.later_quality import later_quality
from batch.models.popularity_then import DecayedCounts
from batch.models.prefixes import prefixes
from batch.models.skip_gram import Corpus, kept_shares, pairs
from batch.models.two_tower import TwoTower
from batch.models.wide_deep import WideDeep
from batch.projector import write_projection
from schemas.errors import InvalidInput
from stream_workers.models.deep.crosses import NO_CROSS, crossed, favourites, hashed
from stream_workers.models.deep.scorer import Query
from stream_workers.models.deep.towers import unit
from tests.deep_world import CLUSTERS, NEW, PER_CLUSTER, catalogue, cluster_of, clustered, log_of, rated


def test_an_item_that_nobody_took_gets_a_vector_near_its_cluster_and_is_ranked_above_the_others() -> None:
    model = TwoTower(width=16, longest=5, batch=64, uniform=16, epochs=8, rate=0.01, id_dropout=0.5)
    scorer = model.fit(*clustered(), seed=3)
    centres = unit(
        np.stack([scorer.item_vectors[PER_CLUSTER * one : PER_CLUSTER * (one + 1)].mean(axis=0) for one in range(CLUSTERS)])
    )
    for cluster, new in enumerate(NEW):
        nearness = centres @ scorer.item_vectors[new]
        assert nearness.argmax() == cluster
        assert nearness[cluster] > 0.7
        scores = scorer.score([Query.of(range(PER_CLUSTER * cluster, PER_CLUSTER * cluster + 3), now=10**9)])[0]
        others = [row for row in range(len(scores)) if cluster_of(row) != cluster]
        assert scores[new] > scores[others].max()


def test_item2vec_gives_an_item_that_nobody_took_the_vector_of_its_words() -> None:
    scorer = Item2Vec(width=16, epochs=6, batch=256, rate=0.02, threshold=1.0).fit(*clustered(), seed=3)
    vectors = unit(scorer.centres)
    for cluster, new in enumerate(NEW):
        nearness = vectors[: PER_CLUSTER * CLUSTERS] @ vectors[new]
        assert nearness.reshape(CLUSTERS, PER_CLUSTER).mean(axis=1).argmax() == cluster


def test_the_kl_term_grows_from_nothing_to_its_last_weight() -> None:
    assert [annealed(float(step), 4, 0.2) for step in (0, 2, 4, 9)] == pytest.approx([0, 0.1, 0.2, 0.2])
    layer = Sampling(steps=2, most=0.5, seed=1)
    mean, log_variance = np.full((3, 2), 2.0, np.float32), np.zeros((3, 2), np.float32)
    losses = []
    for _ in range(4):
        layer(mean, log_variance, training=True)
        losses.append(float(layer.losses[-1]))
    assert losses == pytest.approx([0, 0.25 * 4, 0.5 * 4, 0.5 * 4])  # KL of N(2, 1), two numbers: 4
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(layer(mean, log_variance)), mean)
    assert float(layer.step) == 4


def test_autorec_predicts_ratings_better_than_means() -> None:
    train, later = rated()
    scorer = AutoRec(width=16, epochs=12, rate=0.02, batch=8).fit(train, later, seed=1)
    of_all = float(np.sqrt(np.mean((later.ratings - train.ratings.mean()) ** 2)))
    error = rating_error(scorer, train, later)
    assert of_all > 1.5
    assert error < 0.5 * of_all
    predicted = scorer.ratings([Query.of([0, 1]), Query.of([])])
    assert predicted.min() >= 1
    assert predicted.max() <= 5


def test_autorec_needs_ratings() -> None:
    with pytest.raises(InvalidInput, match="ratings alone"):
        AutoRec().fit(*clustered(people=3), seed=1)
    scorer = AutoRec(width=4, epochs=1).fit(*rated(12), seed=1)
    with pytest.raises(InvalidInput, match="no ratings"):
        rating_error(scorer, *clustered(people=3))


def test_crosses_explain_what_nothing_else_does() -> None:
    """Item 2 k is followed by 2 k + 12 in half of the cases: with width 1 and one unit only the table of crosses can know."""
    rng = np.random.default_rng(4)
    follow = rng.permutation(12) + 12
    first = rng.integers(0, 12, 400)
    log = log_of(np.repeat(np.arange(400), 2).tolist(), np.stack([first, follow[first]], axis=1).ravel().tolist(), described=False)
    narrow = WideDeep(width=1, kind_width=1, layers=(1,), batch=64, negatives=8, rate=0.02, epochs=6, wide_decay=0.0)
    asked = [Query.of([item], now=int(log.timestamps[-1])) for item in range(12)]
    right = {}
    for buckets in (0, 1 << 12):
        scores = replace(narrow, buckets=buckets).fit(log, log.part(0, 0), seed=1).score(asked)
        right[buckets] = np.mean(scores[:, 12:24].argmax(axis=1) + 12 == follow)
    assert right[1 << 12] > 0.9
    assert right[0] < 0.5


def test_crosses_of_nothing_are_no_crosses_and_others_stay_in_the_table() -> None:
    categories = np.array([[1, 0], [2, 1], [0, 0]])
    newest, items = np.array([[2, 0, -1], [-1, -1, -1]]), np.array([[0, 1], [1, 2]])
    liked = favourites(newest, np.array([[0.5, 0.5, 0], [0, 0, 0]], np.float32), categories, 3)
    assert liked.tolist() == [1, 0]
    buckets = crossed(newest, liked, items, categories, 64)
    assert buckets.shape == (2, 2, 6)
    assert (buckets[1] == NO_CROSS).all()
    assert (buckets[0, :, 2] == NO_CROSS).all()
    assert buckets[0, 0, 5] == NO_CROSS
    assert (np.delete(buckets[0], [2, 5], axis=1) > 0).all()
    many = hashed(1, np.arange(5000), np.arange(5000)[::-1], 1 << 10)
    assert many.min() >= 1
    assert many.max() < 1 << 10
    assert len(np.unique(many)) > 900  # 5,000 balls in 1,023 bins leave about 8 empty
    assert (hashed(1, np.arange(99), np.arange(99), 1 << 16) != hashed(2, np.arange(99), np.arange(99), 1 << 16)).mean() > 0.9


def test_decayed_counts_are_those_of_a_plain_loop() -> None:
    rng = np.random.default_rng(6)
    items, times = rng.integers(0, 5, 80), np.sort(rng.integers(0, 50, 80))
    asked, moments = rng.integers(0, 6, (30, 3)), rng.integers(0, 70, (30, 1))
    found = DecayedCounts(items, times, 7.0).at(asked, moments)
    for row, item, column in ((row, asked[row, column], column) for row in range(30) for column in range(3)):
        before = (items == item) & (times < moments[row, 0])
        assert found[row, column] == pytest.approx(np.sum(0.5 ** ((moments[row, 0] - times[before]) / 7.0)))


def test_prefixes_know_only_what_came_before() -> None:
    log = log_of([0, 1, 0, 0, 1], [5, 6, 7, 8, 9], [1, 2, 3, 4, 5])
    found = prefixes(log, 2)
    assert found.items.tolist() == [[-1, -1], [-1, -1], [5, -1], [7, 5], [6, -1]]
    assert found.weights.tolist() == [[0, 0], [0, 0], [1, 0], [3, 1], [2, 0]]
    assert found.gaps[3] == pytest.approx(np.log2(1 + np.array([1, 3]) / 60))


def test_candidates_are_drawn_as_often_as_their_correction_says() -> None:
    mixture = Mixture.of(np.array([8, 2, 0, 0]), 0.4)
    assert mixture.probabilities == pytest.approx([0.1 + 0.48, 0.1 + 0.12, 0.1, 0.1])
    drawn = mixture.draw((100, 200), np.random.default_rng(0))
    assert np.bincount(drawn.ravel()) / drawn.size == pytest.approx(mixture.probabilities, abs=0.01)
    candidates, offsets = InBatch(np.array([8, 2, 0, 0]), batch=3, uniform=2).of(np.array([1, 0, 1]), np.random.default_rng(0))
    assert candidates[:3].tolist() == [1, 0, 1]
    assert offsets[0, 0] == pytest.approx(-np.log(0.22))
    assert offsets[0, 2] < -1e8  # the target, a second time
    assert offsets[1, 0] == offsets[1, 2] == offsets[0, 0]


def test_skip_gram_pairs_stay_within_a_session_and_frequent_codes_are_thinned_out() -> None:
    corpus = Corpus(np.array([0, 1, 2, 3, 4]), np.array([0, 0, 0, 1, 1]), 5)
    rng = np.random.default_rng(0)
    passes = [pairs(corpus, 2, 1.0, rng) for _ in range(200)]
    counted = np.zeros((5, 5))
    for centres, contexts in passes:
        np.add.at(counted, (centres, contexts), 1)
    np.testing.assert_array_equal(counted, counted.T)
    assert counted[0, 1] == counted[1, 2] == counted[3, 4] == 200
    assert counted[2, 3] == 0
    assert counted[0, 2] == pytest.approx(100, abs=25)  # two apart, window two: every second pass
    assert kept_shares(np.array([99, 1]), 0.01) == pytest.approx([np.sqrt(0.01 / 0.99), 1.0])


def test_content_leaves_out_what_one_item_alone_has() -> None:
    known = catalogue()._replace(titles=("unique space", *catalogue().titles[1:]))
    content = content_of(known)
    assert "space" in content.word_names
    assert "unique" not in content.word_names
    assert content.label_names[0] == ""
    assert {"category:kind 0", "category:kind 1", "category:kind 2"} == set(content.label_names[1:])
    nothing = content_of(catalogue(described=False))
    assert not nothing.words.any()
    assert not nothing.labels.any()
    assert not nothing.years.any()
    assert texts_of(catalogue(described=False)).size == 1


def test_later_quality_asks_for_the_first_new_item_of_each_user() -> None:
    train = log_of([0, 1, 1], [3, 4, 5])
    later = log_of([0, 0, 1], [3, 7, 8])  # user 0 takes 3 again, then 7, which is new

    class Fixed:
        def __init__(self, best: list[int]) -> None:
            self.best = best

        def score(self, queries: list[Query]) -> np.ndarray:
            scores = np.zeros((len(queries), train.catalogue.size), np.float32)
            scores[:, self.best] = np.arange(len(self.best), 0, -1)
            return scores

    judge = later_quality(train, later, seed=1)
    assert judge is not None
    assert judge(Fixed([7, 8])) == pytest.approx((1 + 1 / np.log2(3)) / 2)  # type: ignore[arg-type]
    assert judge(Fixed([3, 4, 5, 7, 8])) == pytest.approx(np.mean([1 / np.log2(4), 1 / np.log2(4)]))  # type: ignore[arg-type]
    assert judge(Fixed([])) < 0.2  # type: ignore[arg-type]  # ties count against
    assert later_quality(train, train, seed=1) is None


def test_errors_of_ratings_stand_beside_simple_guesses() -> None:
    scorer = AutoRec(width=4, epochs=1).fit(*rated(12), seed=1)
    train, later = rated(12)
    found = rating_errors(scorer, train, train, later)
    stars = later.ratings
    assert list(found) == ["model", "mean of the item", "mean of all"]
    assert found["mean of all"] == pytest.approx(np.sqrt(np.mean((train.ratings.mean() - stars) ** 2)), rel=1e-5)
    means = [train.ratings[train.items == item].mean() if item in train.items else train.ratings.mean() for item in later.items]
    assert found["mean of the item"] == pytest.approx(np.sqrt(np.mean((np.array(means) - stars) ** 2)), rel=1e-4)
    assert rating_errors(scorer, train, train, later.part(0, 0)) == {}


def test_the_projector_reads_what_was_written(tmp_path: Path) -> None:
    items = catalogue()._replace(titles=("tab\there\nline", *catalogue().titles[1:]))
    vectors = np.random.default_rng(0).normal(size=(items.size, 4)).astype(np.float32)
    write_projection(tmp_path / "new", vectors, items, np.array([0, 2, 5]))
    config = text_format.Parse((tmp_path / "new" / "projector_config.pbtxt").read_text(), ProjectorConfig())
    (entry,) = config.embeddings
    np.testing.assert_allclose(np.loadtxt(tmp_path / "new" / entry.tensor_path, delimiter="\t"), vectors[[0, 2, 5]], rtol=1e-4)
    header, *lines = (tmp_path / "new" / entry.metadata_path).read_text().splitlines()
    assert header.split("\t") == ["item", "title", "categories", "year"]
    assert [line.split("\t")[0] for line in lines] == ["i0", "i2", "i5"]
    assert lines[0].split("\t")[1] == "tab here line"
    with pytest.raises(InvalidInput, match="not finite"):
        write_projection(tmp_path, np.full_like(vectors, np.nan), items, np.array([1]))
    with pytest.raises(InvalidInput, match="catalogue"):
        write_projection(tmp_path, vectors[:3], items, np.array([1]))
