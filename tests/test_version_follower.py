"""Following the serving versions of published models: whole sets, damaged ones refused, cheap when nothing changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from batch.registry.pointers import promote, rollback
from feature_store.version_arrays import StoredVersion
from feature_store.version_follower import VersionFollower
from tests.published_versions import MODEL, NOTE, damage, published


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
