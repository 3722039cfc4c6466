"""Readers notice that a pointer moved: each move, once, and for the price of one stat."""

from __future__ import annotations

import os
import timeit
from pathlib import Path

import pytest

from batch.registry.pointers import set_shadow
from feature_store.version_manifest import CorruptVersion
from feature_store.version_pointers import STATE, Pointers, Watcher
from tests.published_versions import MODEL, NOTE, forced, passed, published


@pytest.fixture
def versions(tmp_path: Path) -> list[str]:
    """Four, oldest first."""
    return [published(tmp_path, seed) for seed in (1, 2, 3, 4)]


def test_the_watcher_tells_each_move_once(tmp_path: Path) -> None:
    watcher = Watcher(tmp_path / "models", MODEL)
    assert watcher.poll() is None  # no root yet
    names = [published(tmp_path / "models", seed) for seed in (1, 2)]
    assert watcher.poll() is None
    forced(tmp_path / "models", *names)
    assert [watcher.poll(), watcher.poll()] == [Pointers(names[1], None), None]
    set_shadow(tmp_path / "models", MODEL, names[0], NOTE)
    assert [watcher.poll(), watcher.poll()] == [Pointers(names[1], names[0]), None]
    passed(tmp_path / "models", names[0], names[1])  # the state changes, no pointer moves
    assert watcher.poll() is None


def test_the_watcher_sees_moves_within_one_tick_of_the_clock(tmp_path: Path, versions: list[str]) -> None:
    ahead = 2_000_000_000 * 10**9  # no later draft is newer than the state, as if the clock stood still
    watcher, looked = Watcher(tmp_path, MODEL), []
    forced(tmp_path, versions[0])
    os.utime(tmp_path / MODEL / STATE, ns=(ahead, ahead))
    watcher.poll()
    for at in range(12):
        set_shadow(tmp_path, MODEL, versions[1 + at % 2], NOTE)
        looked.append(watcher.poll())
    assert [found.shadow for found in looked if found] == [versions[1 + at % 2] for at in range(12)]
    assert (tmp_path / MODEL / STATE).stat().st_mtime_ns == ahead + 12


def test_the_watcher_keeps_what_it_knows_when_the_root_goes_away(tmp_path: Path, versions: list[str]) -> None:
    forced(tmp_path, versions[0])
    watcher = Watcher(tmp_path, MODEL)
    watcher.poll()
    (tmp_path / MODEL).rename(tmp_path / "away")
    assert (watcher.poll(), watcher.pointers) == (None, Pointers(versions[0]))
    (tmp_path / "away").rename(tmp_path / MODEL)
    assert watcher.poll() is None
    forced(tmp_path, versions[1])
    assert watcher.poll() == Pointers(versions[1])


def test_the_watcher_complains_once_about_a_state_it_cannot_read(tmp_path: Path, versions: list[str]) -> None:
    forced(tmp_path, versions[0])
    watcher = Watcher(tmp_path, MODEL)
    watcher.poll()
    whole = (tmp_path / MODEL / STATE).read_text()
    (tmp_path / MODEL / STATE).write_text("{")
    with pytest.raises(CorruptVersion):
        watcher.poll()
    assert (watcher.poll(), watcher.pointers) == (None, Pointers(versions[0]))
    (tmp_path / MODEL / STATE).write_text(whole)
    forced(tmp_path, versions[1])
    assert watcher.poll() == Pointers(versions[1])


def test_a_look_without_news_costs_less_than_fifty_microseconds(tmp_path: Path, versions: list[str]) -> None:
    forced(tmp_path, versions[0])
    watcher = Watcher(tmp_path, MODEL)
    watcher.poll()
    assert min(timeit.repeat(watcher.poll, number=200, repeat=20)) / 200 < 50e-6
