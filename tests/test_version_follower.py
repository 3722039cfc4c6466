"""Following the serving versions of published models: whole sets, damaged ones refused, cheap when nothing changed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from batch.registry.pointers import promote, rollback, set_shadow
from feature_store.version_arrays import StoredVersion
from feature_store.version_follower import VersionFollower
from stream_workers.handlers.interaction_merge import Merged
from stream_workers.handlers.learning_stage import LearningStage
from stream_workers.learner_sources import LearnerSources
from stream_workers.models.online.bank import ModelBank
from stream_workers.models.online.settings import BankSettings
from tests.published_versions import MODEL, NOON, NOTE, damage, published


def version_of(stored: StoredVersion) -> str:
    return stored.version


def test_it_begins_with_nothing_and_follows_promotion_and_rollback(tmp_path: Path) -> None:
    root = tmp_path / "models"
    follower = VersionFollower(root, ("rnn", "towers"), version_of, tuple)
    assert not follower.refresh()
    assert follower.current == ()
    first, second = published(root, 1, "towers"), published(root, 2, "towers")
    promote(root, "towers", first, NOTE, force=True)
    assert follower.refresh()
    assert follower.current == (first,)
    assert not follower.refresh()
    before = follower.current
    rnn = published(root, 3, "rnn")
    promote(root, "rnn", rnn, NOTE, force=True)
    promote(root, "towers", second, NOTE, force=True)
    assert follower.refresh()
    assert follower.current == (rnn, second)
    assert before == (first,), "who holds a set keeps it whole"
    rollback(root, "towers", NOTE)
    assert follower.refresh()
    assert follower.current == (rnn, first)


def test_a_damaged_version_is_told_of_and_the_one_before_stays(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first, second = published(tmp_path, 1), published(tmp_path, 2)
    promote(tmp_path, MODEL, first, NOTE, force=True)
    follower = VersionFollower(tmp_path, (MODEL,), version_of, tuple)
    follower.refresh()
    promote(tmp_path, MODEL, second, NOTE, force=True)
    damage(tmp_path, second)
    assert not follower.refresh()
    assert follower.current == (first,)
    assert follower.faults == 1
    assert second in caplog.text


def taken(events: int, start: int = 0) -> Merged:
    """Clicks of many users on a few items, one a minute."""
    at = np.arange(start, start + events)
    return Merged(
        [f"u{n % 7}" for n in at], [f"item{n % 9}" for n in at], [()] * events, np.ones(events, np.uint8),
        np.full(events, np.nan, np.float32), np.zeros(events, np.bool_), NOON + 60_000 * at, np.zeros(events, np.uint64),
    )  # fmt: skip


def test_the_learner_judges_what_is_in_the_shadow_and_uses_what_serves(tmp_path: Path) -> None:
    sources = LearnerSources(tmp_path, (MODEL,))
    stage = LearningStage(
        ModelBank(BankSettings(vector_size=8, mf_size=8, covisit_neighbours=32)), sample=1.0, repeats=False, published=sources.now
    )
    stage.apply(taken(40))
    assert stage.report(0)["published"] is None
    first, second = published(tmp_path, 1), published(tmp_path, 2)
    set_shadow(tmp_path, MODEL, first, NOTE)
    stage.apply(taken(40, start=40))
    board = stage.report(0)["published"]
    assert board["models"].keys() == {"blend", f"{MODEL}@{first}"}
    assert board["shadows"] == [f"{MODEL}@{first}"]
    assert board["ranked"] > 0
    promote(tmp_path, MODEL, first, NOTE, force=True)
    set_shadow(tmp_path, MODEL, second, NOTE)
    stage.apply(taken(40, start=80))
    board = stage.report(0)["published"]
    assert board["models"].keys() == {"blend", f"{MODEL}@{first}", f"{MODEL}@{second}"}
    assert board["shadows"] == [f"{MODEL}@{second}"]
    assert sources.now() is sources.now(), "nothing changed, so nobody begins anew"
