"""The learner's loop: a real store in memory, a fake log, and both failing at the worst moments."""

from __future__ import annotations

import asyncio
import random
import time

import pytest
from faust.types import TP

import stream_workers.learner as learner_module
import stream_workers.learner_commits as commits_module
import stream_workers.learner_feed as feed_module
from feature_store.keys import MODEL_INDEX, MODEL_PREFIX
from feature_store.page_format import unpack_index
from schemas.topics import VIEWS
from stream_workers.handlers.interactions import encode_interactions, rows_of
from stream_workers.runtime import Runtime
from tests.learner_world import LearnerWorld, learning, until


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same waits, shorter."""
    monkeypatch.setattr(learner_module, "_BACKOFF_SECONDS", (0.01, 0.02))
    monkeypatch.setattr(commits_module, "_COMMIT_SECONDS", 0.03)
    monkeypatch.setattr(commits_module, "_PROBE_SECONDS", 0.1)
    monkeypatch.setattr(feed_module, "_PATIENCE_SECONDS", 0.5)


async def test_everything_is_learnt_once_and_the_watermarks_say_so() -> None:
    async with learning() as world:
        for n in range(20):
            await world.click(n % 2, [10 * n, 10 * n + 1], item=str(n % 3))
        await world.settle()
        assert await world.marks() == {"interactions:0": 9, "interactions:1": 9, "clicks:0": 19, "clicks:1": 19}
        report = world.learner.report()
        assert report == {"events": 40, "lag": 0, "restarts": 0}
    assert world.learner.report() is None


async def test_a_message_sent_again_by_a_restarted_user_stage_is_learnt_once() -> None:
    async with learning() as world:
        columns = world.happen(0, [1, 2, 3, 4])
        for rows in (slice(0, 2), slice(0, 3), slice(0, 4), slice(2, 4)):
            world.log.records[0].append(encode_interactions(rows_of(columns, rows)))
        await world.commit_user_stage(0, 3)
        await world.settle()
        assert world.stored_counts() == {"7": 4}


@pytest.mark.parametrize(
    "faults",
    [["before"], ["after"], ["before", "claim"], ["after", "read"], ["after", "claim", "after", "read"], ["after"] * 3],
)
async def test_every_event_is_learnt_exactly_once_when_the_store_fails(faults: list[str]) -> None:
    async with learning() as world:
        await world.click(0, [1])
        await world.settle()
        for n in range(12):
            await world.click(n % 2, [10 + n])
            if n == 4:
                world.store.faults = list(faults)
            await asyncio.sleep(0.01)
        await world.settle()
        assert world.learner.report() is not None


async def test_a_learner_killed_at_any_moment_is_followed_by_one_that_goes_on() -> None:
    rng = random.Random(3)
    world = LearnerWorld(2)
    for kill in range(12):
        learner = world.new_learner()
        learner.start()
        for n in range(rng.randrange(1, 5)):
            await world.click(rng.randrange(2), [100 * kill + n] * rng.randrange(1, 40), item=str(rng.randrange(5)))
        await asyncio.sleep(rng.random() * 0.12)
        assert learner._task is not None
        learner._task.cancel()  # as kill -9: nothing more is written
        with pytest.raises(asyncio.CancelledError):
            await learner._task
    world.learner.start()
    await world.settle()
    await world.learner.stop()


async def test_two_learners_at_once_never_count_twice() -> None:
    async with learning() as world:
        other = world.new_learner()
        other.start()
        for n in range(30):
            await world.click(n % 2, [n])
            await asyncio.sleep(0.01)
        await other.stop()
        await world.settle()
        assert world.stored_counts() == {"7": 30}


async def test_a_flushed_store_is_learnt_again_from_the_start_of_the_log() -> None:
    async with learning() as world:
        for n in range(6):
            await world.click(n % 2, [n])
        await world.settle()
        world.store.flush()
        await world.commit_user_stage(0, 2)  # the user stages fill their part again
        await world.commit_user_stage(1, 2)
        await world.settle()
        assert world.stored_counts() == {"7": 6}


async def test_stopping_commits_what_was_learnt() -> None:
    async with learning() as world:
        await world.click(0, [1, 2, 3])
        await until(lambda: bool(world.banks) and world.banks[-1].count("items", "7") == 3)
        await world.learner.stop()
        assert world.learnt() == 3


async def test_hostile_messages_are_ignored_with_a_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async with learning() as world:
        forged = world.happen(0, [1])
        world.sent.clear()
        world.log.records[1].extend([b"", None, b"\x80\x80", b"x" * 1000, encode_interactions(forged)])
        await world.commit_user_stage(0, 0)
        await world.click(1, [5])
        await world.settle()
        assert caplog.text.count("ignored") == 5
        assert (await world.marks())["interactions:1"] == 5


async def test_an_unexpected_error_restarts_the_learner_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    async with learning() as world:
        world.log.down = 1
        await world.click(0, [1])
        await world.settle()
        broken = world.banks[-1]
        broken.advance = lambda batch, ranked: 1 / 0  # type: ignore[method-assign, assignment]
        await world.click(0, [2])
        await world.settle()
        assert "ZeroDivisionError" in caplog.text
        report = world.learner.report()
        assert report is not None
        assert report["restarts"] >= 1


async def test_the_catalogue_is_handed_on_at_the_start_and_when_it_changes() -> None:
    world = LearnerWorld(1)
    world.catalogue.apply(None, b'{"item_id": "1", "title": "Alien", "categories": ["Horror"]}')
    world.learner.start()
    await world.click(0, [1])
    await world.settle()
    assert world.banks[-1].described == {"1": (("Horror",), "Alien")}
    world.catalogue.apply(None, b'{"item_id": "2"}')
    await asyncio.sleep(0.1)
    assert world.banks[-1].described["2"] == ((), None)
    index = unpack_index(world.store.blobs[MODEL_INDEX])
    assert index.commit >= 2, "what the catalogue says is committed without waiting for an event"
    await world.learner.stop()


async def test_models_begun_anew_leave_no_page_of_the_old_ones() -> None:
    async with learning() as world:
        await world.click(0, [1])
        await world.settle()
        await world.learner.stop()
        epoch = unpack_index(world.store.blobs[MODEL_INDEX]).epoch
        stored = (key for key in world.store.blobs if key.startswith(MODEL_PREFIX) and key != MODEL_INDEX)
        world.store.blobs[next(stored)] = b"damaged"
        world.store.blobs[MODEL_PREFIX + b"old:3"] = b"?"
        world.services.clock_ms = lambda: epoch + 1
        world.learner.start()
        await world.settle()
        assert MODEL_PREFIX + b"old:3" not in world.store.blobs
        await until(lambda: unpack_index(world.store.blobs[MODEL_INDEX]).epoch > epoch)
        await world.settle()


# --- who waits for whom ---------------------------------------------------------------------------------------------------


async def test_an_event_does_not_wait_for_partitions_where_nothing_happens() -> None:
    async with learning(partitions=8) as world:
        await world.click(0, [1])
        await world.settle()
        times = []
        for n in range(10):
            started = time.monotonic()
            await world.click(n % 8, [10 + n])
            await until(lambda: world.learnt() == world.sent.total())
            times.append(time.monotonic() - started)
        assert sorted(times)[5] < 0.25, times


async def test_an_event_waits_for_older_ones_that_a_user_stage_has_not_told_of_yet() -> None:
    async with learning() as world:
        await world.click(0, [1])
        await world.settle()
        late = world.happen(1, [10], item="late")
        await world.click(0, [20])
        await asyncio.sleep(0.25)
        assert world.learnt() == 1
        await world.deliver(late)
        await world.settle()
        ids = [name for name in world.banks[-1].state()["items.ids"].tolist() if name]
        assert ids == [b"7", b"late"]


async def test_patience_with_a_stuck_user_stage_ends_and_is_not_spent_again(caplog: pytest.LogCaptureFixture) -> None:
    async with learning() as world:
        world.happen(1, [1])
        world.sent.clear()
        started = time.monotonic()
        await world.click(0, [2])
        await world.settle()
        first = time.monotonic() - started
        started = time.monotonic()
        await world.click(0, [3])
        await world.settle()
        assert first > 0.5 + 0.3 > time.monotonic() - started
        assert caplog.text.count("behind their log") == 1


# --- who learns -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("may", "partition", "learns"), [(True, 0, True), (True, 1, False), (False, 0, False)])
async def test_the_owner_of_the_first_partition_learns_if_it_may(may: bool, partition: int, learns: bool) -> None:
    world = LearnerWorld(2, learner=may)
    runtime = Runtime(world.services, world.learner)
    await runtime.assign({TP(VIEWS, partition)})
    assert (world.learner.report() is not None) == learns
    await runtime.stop()
