"""The loop of one partition: a real in-memory store, a fake Kafka, and both failing at the worst moments."""

from __future__ import annotations

import asyncio
import base64

import orjson
import pytest

from feature_store.forgotten_blob import hash_of, unpack_forgotten
from feature_store.keys import SALT, forgotten_key, user_key, user_watermarks_key
from feature_store.memory import MemoryStore
from feature_store.port import Writes
from schemas.errors import KafkaUnavailable
from stream_workers.handlers.interactions import decode_interactions
from stream_workers.pipeline import Batch
from stream_workers.services import Outgoing
from tests.pipeline_world import IN_0, IN_1, NOW, TWO, running


async def test_nothing_is_committed_before_kafka_acknowledged_what_follows_from_it() -> None:
    async with running() as world:
        world.sink.open.clear()
        await world.offer(world.click())
        await asyncio.sleep(0.05)
        assert (set(world.store.blobs), await world.store.watermarks(user_watermarks_key(0))) == ({SALT}, {})
        world.sink.open.set()
        await world.settle()
        assert (world.clicks_of("u"), len(world.sink.of("item-signals"))) == (1, 1)


async def test_the_learner_is_told_before_the_commit_and_one_message_after_the_other() -> None:
    async with running() as world:
        writer = await world.pipeline.begin()
        records = [world.click(f"u{n % 9}", str(n % 5)) for n in range(4100)]
        world.sink.down = 1
        with pytest.raises(KafkaUnavailable):
            await world.pipeline.apply(Batch({"clicks": records}), writer)
        assert writer.watermarks == {}
        world.sink.calls.clear()
        await world.pipeline.begin()
        await world.pipeline.apply(Batch({"clicks": records}), writer)
        told = [[record for record in call if record.topic == "interactions"] for call in world.sink.calls]
        assert [len(call) for call in told] == [1, 1, 1], "one message per acknowledged wave"
        columns = [decode_interactions(call[0].value) for call in told]
        assert [offset for part in columns for offset in part.offsets] == list(range(4100))
        assert {(record.partition, record.key) for call in told for record in call} == {(0, None)}
        await world.settle()


async def test_a_batch_that_kafka_did_not_acknowledge_is_sent_again_and_applied_once() -> None:
    async with running() as world:
        world.sink.down = 2
        for _ in range(3):
            world.click()
        await world.settle()
        assert world.clicks_of("u") == 3
        assert len(world.sink.of("item-signals")) >= 3
        assert world.services.counters.recoveries == 1


@pytest.mark.parametrize(
    "faults",
    [["before"], ["after"], ["before", "before"], ["before", "after"], ["after", "claim"], ["read"], ["before", "read", "after"]],
)
async def test_every_event_is_applied_exactly_once_when_the_store_fails(faults: list[str]) -> None:
    async with running() as world:
        world.store.faults = list(faults)
        for n in range(8):
            world.click(f"u{n % 2}")
        await world.settle()
        assert (world.clicks_of("u0"), world.clicks_of("u1")) == (4, 4)


async def test_a_flushed_store_is_filled_again_from_the_start_of_the_log() -> None:
    async with running() as world:
        for _ in range(4):
            world.click()
        await world.settle()
        world.store.flush()
        world.click()
        await world.settle()
        assert world.clicks_of("u") == 5
        assert world.rewinds[0]["clicks"] == 0


async def test_what_waits_behind_a_batch_that_must_be_read_again_is_read_again_too() -> None:
    async with running() as world:
        world.click()
        await world.settle()
        world.sink.open.clear()
        records = [world.click() for _ in range(4)]
        await world.offer(records[0])
        await asyncio.sleep(0.02)  # the loop has taken it and waits for Kafka
        await world.offer(*records[1:])
        world.store.flush()
        world.sink.open.set()
        await world.settle()
        assert world.clicks_of("u") == 5


async def test_a_batch_that_the_store_already_has_is_skipped() -> None:
    async with running() as world:
        batch = Batch({"clicks": [world.click() for _ in range(3)]})
        writer = await world.pipeline.begin()
        for _ in range(2):
            await world.pipeline.apply(batch, writer)
        assert (world.clicks_of("u"), len(world.sink.of("item-signals"))) == (3, 1)
        await world.settle()


async def test_a_fenced_partition_goes_on_behind_what_the_other_writer_stored() -> None:
    async with running() as world:
        world.click()
        await world.settle()
        other = await MemoryStore.claim(world.store, user_watermarks_key(0))
        blob = world.store.blobs[user_key(0, "u")]
        await other.commit(Writes({user_key(0, "u"): blob}, (), {"clicks": 2}))
        for _ in range(4):
            world.click()
        await world.settle()
        assert world.rewinds[0]["clicks"] == 3
        assert world.clicks_of("u") == 1 + 2  # offsets 1 and 2 are the other writer's


# --- gaps and epochs ------------------------------------------------------------------------------------------------------


async def test_records_lost_on_the_way_are_read_again() -> None:
    async with running() as world:
        records = [world.click() for _ in range(6)]
        await world.offer(*records[:2])
        await world.offer(*records[4:])  # 2 and 3 went missing
        assert world.rewinds == [{"clicks": 2}]
        await world.settle()
        assert (world.clicks_of("u"), len(world.rewinds)) == (6, 1)


async def test_records_that_wait_are_kept_while_a_gap_behind_them_is_read_again() -> None:
    async with running() as world:
        world.sink.open.clear()
        records = [world.click() for _ in range(8)]
        await world.offer(records[0])
        await asyncio.sleep(0.02)  # the loop has taken it and waits for Kafka
        await world.offer(*records[1:4])
        await world.offer(*records[6:])
        world.sink.open.set()
        await world.settle()
        assert world.clicks_of("u") == 8


async def test_a_gap_of_the_log_itself_is_accepted_after_one_look() -> None:
    async with running() as world:
        world.fetch = 2
        for offset in (0, 1, 5, 6):  # 2 to 4: transaction markers, or expired
            world.click(offset=offset)
        await world.settle()
        assert (world.clicks_of("u"), world.rewinds) == (4, [{"clicks": 2}])


async def test_a_compacted_topic_has_gaps_by_nature() -> None:
    async with running() as world:
        for offset in (3, 9):
            world.append("users", b'{"user_id": "u"}', offset, key=b"u")
        await world.settle()
        assert world.rewinds == []


async def test_records_fetched_before_a_rewind_are_dropped() -> None:
    async with running() as world:
        record = world.click()
        await world.offer(record, epoch=world.epoch["clicks"] - 1)
        await world.offer(record, epoch=world.epoch["clicks"] + 1)
        await asyncio.sleep(0.02)
        assert world.clicks_of("u") == 0
        await world.settle()
        assert world.clicks_of("u") == 1


async def test_records_delivered_twice_count_once() -> None:
    async with running() as world:
        world.sink.open.clear()
        records = [world.click() for _ in range(5)]
        await world.offer(records[0])
        await asyncio.sleep(0.02)
        await world.offer(*records[1:4])
        await world.offer(*records[2:])
        world.sink.open.set()
        world.position["clicks"] = 5
        await world.settle()
        assert world.clicks_of("u") == 5


# --- forwarding and dead letters ------------------------------------------------------------------------------------------


async def test_a_wrongly_keyed_event_is_forwarded_with_its_origin() -> None:
    async with running(partitions=TWO) as world:
        record = world.click(IN_1, key=b"anything")
        await world.settle()
        (sent,) = world.sink.of("clicks")
        assert sent == Outgoing("clicks", 1, IN_1.encode(), record.value, (("freshet-origin", b"clicks:0:0"),))
        assert (world.clicks_of(IN_1), world.services.counters.forwarded) == (0, 1)


async def test_an_event_forwarded_twice_is_applied_once() -> None:
    async with running(partitions=TWO) as world:
        for origin in (b"clicks:1:5", b"clicks:1:5", b"clicks:1:6"):
            world.click(IN_0, headers=(("freshet-origin", origin),))
        await world.settle()
        assert (world.clicks_of(IN_0), world.services.counters.duplicates) == (2, 1)


async def test_an_event_forwarded_to_a_wrong_partition_does_not_travel_on() -> None:
    async with running(partitions=TWO) as world:
        world.click(IN_1, headers=(("freshet-origin", b"clicks:1:5"),))
        await world.settle()
        assert world.sink.of("clicks") == []
        assert orjson.loads(world.sink.of("dead-letters")[0].value or b"")["reason"] == "wrong_partition"


@pytest.mark.parametrize("value", [b"\xff{", b"", b"{}", b"x" * 100_000])
async def test_a_bad_record_becomes_a_dead_letter_and_harms_no_other(value: bytes) -> None:
    async with running() as world:
        world.click()
        world.append("clicks", value)
        world.click()
        await world.settle()
        (sent,) = world.sink.of("dead-letters")
        letter = orjson.loads(sent.value or b"")
        assert letter.keys() == {"topic", "partition", "offset", "reason", "error", "value_base64", "received_at"}
        assert (letter["topic"], letter["partition"], letter["offset"], sent.key) == ("clicks", 0, 1, b"clicks:0:1")
        assert (base64.b64decode(letter["value_base64"]), letter["received_at"]) == (value, "2026-01-01T00:00:00.000Z")
        assert (world.clicks_of("u"), world.services.counters.dead_letters) == (2, 1)


async def test_a_tombstone_forgets_the_user_and_their_profile() -> None:
    async with running() as world:
        world.click()
        world.append("users", b'{"user_id": "u"}', key=b"u")
        await world.settle()
        world.append("users", None, key=b"u")
        world.append("users", None)
        await world.settle()
        assert (world.clicks_of("u"), len(world.sink.of("dead-letters"))) == (0, 1)
        assert set(world.store.blobs) == {forgotten_key(0), SALT}
        assert unpack_forgotten(world.store.blobs[forgotten_key(0)]) == {hash_of("u", world.store.blobs[SALT]): NOW}


# --- bounds and the end ---------------------------------------------------------------------------------------------------


async def test_a_full_queue_holds_the_consumer_back() -> None:
    async with running(batch_events=10) as world:
        world.sink.open.clear()
        world.fetch = 5
        for _ in range(100):
            world.click()
        pumping = asyncio.create_task(world.pump())
        await asyncio.sleep(0.05)
        assert world.position["clicks"] <= 10 + 2 * 10 + 5 + 5  # one batch in work, a full queue, one list that waits
        world.sink.open.set()
        await pumping
        await world.settle()
        assert world.clicks_of("u") == 100


async def test_closing_applies_what_was_queued_and_takes_nothing_more() -> None:
    async with running() as world:
        records = [world.click() for _ in range(5)]
        await world.offer(*records[:4])
        await world.pipeline.close()
        await world.offer(records[4])
        assert world.clicks_of("u") == 4
        assert world.pipeline.failed is None
