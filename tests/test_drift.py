"""Drift of the blend's hits: found when it happened, not found when it did not, the same across a restart."""

from __future__ import annotations

import numpy as np
import pytest

from stream_workers.models.online.drift import DRIFTS_KEPT, DriftWatch


def ranks(rng: np.random.Generator, size: int, hit_rate: float) -> np.ndarray:
    """Ranks of the target: in the top ten with this probability, else behind it or not ranked."""
    return np.where(rng.random(size) < hit_rate, rng.integers(1, 11, size), rng.choice([0, 11, 400], size))


def changing(seed: int, rates: list[float], size: int = 2000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    all_ranks = np.concatenate([ranks(rng, size, rate) for rate in rates])
    return all_ranks, 1_000_000 + 10 * np.arange(len(all_ranks))


def test_a_fall_is_found_soon_with_both_means() -> None:
    watch = DriftWatch()
    (drift,) = watch.add(*changing(1, [0.3, 0.1]))
    assert 2000 < drift["event"] < 2400
    assert drift["at"] == 1_000_000 + 10 * (drift["event"] - 1)
    assert drift["before"] == pytest.approx(0.3, abs=0.03)
    assert drift["after"] < 0.2
    assert watch.events == [drift]


def test_a_rise_is_found_too() -> None:
    (drift,) = DriftWatch().add(*changing(2, [0.1, 0.3]))
    assert drift["before"] < drift["after"]


def test_noise_is_no_drift() -> None:
    assert DriftWatch().add(*changing(3, [0.25] * 10)) == []


def test_how_the_stream_is_cut_into_batches_does_not_matter() -> None:
    stream, times = changing(4, [0.3, 0.1, 0.4])
    whole, pieces = DriftWatch(), DriftWatch()
    found = whole.add(stream, times)
    cut = [pieces.add(stream[at : at + 7], times[at : at + 7]) for at in range(0, len(stream), 7)]
    assert [drift for batch in cut for drift in batch] == found
    assert len(found) >= 2


@pytest.mark.parametrize("kept", [20_000, 500])
@pytest.mark.parametrize("restart_at", [1, 777, 2040, 4003])
def test_a_restart_changes_nothing(kept: int, restart_at: int) -> None:
    stream, times = changing(5, [0.3, 0.05, 0.5])
    going, restarted = DriftWatch(kept=kept), DriftWatch(kept=kept)
    going.add(stream[:restart_at], times[:restart_at])
    restarted.load({name: array.copy() for name, array in going.state().items()})
    going.add(stream[restart_at:], times[restart_at:])
    restarted.add(stream[restart_at:], times[restart_at:])
    assert restarted.events == going.events
    for name, array in going.state().items():
        assert np.array_equal(restarted.state()[name], array), name


def test_memory_is_bounded_and_drifts_are_still_found() -> None:
    watch = DriftWatch(kept=1000)
    assert watch.add(*changing(6, [0.3] * 5)) == []
    assert len(watch.add(*changing(7, [0.05]))) == 1
    assert watch.state()["hits"].shape == (1000,)


def test_only_the_newest_drifts_are_kept_and_all_are_counted() -> None:
    watch = DriftWatch(delta=0.5, kept=200)
    stream, times = changing(8, [0.0, 1.0] * (DRIFTS_KEPT + 5), 60)
    found = watch.add(stream, times)
    assert len(found) > DRIFTS_KEPT
    assert watch.events == found[-DRIFTS_KEPT:]
    assert watch.found == len(found)
    again = DriftWatch(kept=200)
    again.load(watch.state())
    assert (again.events, again.found) == (watch.events, len(found))


def test_the_state_of_another_watch_is_refused() -> None:
    with pytest.raises(ValueError, match="hits"):
        DriftWatch(kept=10).load(DriftWatch(kept=20).state())
