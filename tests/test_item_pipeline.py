"""The item stage's loop over the same in-memory store and fake Kafka as the user stage's."""

from __future__ import annotations

import asyncio

import pytest

from feature_store.item_blob import unpack_item
from feature_store.keys import item_key, item_watermarks_key, trending_key
from feature_store.trending_blob import unpack_trending
from stream_workers.handlers.signals import encode_signals
from stream_workers.item_pipeline import ItemPipeline
from tests.pipeline_world import World, running
from tests.test_item_stage import click


def signal(world: World, item: str = "7") -> None:
    world.append("item-signals", encode_signals(click(item, len(world.log.get("item-signals", [])))))


def clicks_on(world: World, item: str) -> int:
    blob = world.store.blobs.get(item_key(0, item))
    return unpack_item(blob).counts[1] if blob else 0


def trending(world: World) -> list[str]:
    blob = world.store.blobs.get(trending_key(0))
    return unpack_trending(blob).items if blob else []


@pytest.mark.parametrize(
    "faults", [["before"], ["after"], ["before", "after"], ["after", "claim"], ["read"], ["before", "read", "after"]]
)
async def test_every_signal_counts_exactly_once_when_the_store_fails(faults: list[str]) -> None:
    async with running(ItemPipeline) as world:
        world.store.faults = list(faults)
        for n in range(8):
            signal(world, str(n % 2))
        await world.settle()
        assert (clicks_on(world, "0"), clicks_on(world, "1")) == (4, 4)


async def test_a_store_that_fails_again_while_it_is_read_after_a_flush_loses_nothing() -> None:
    """Claimed anew with empty watermarks, then the leaders cannot be read: the next attempt must still go back to the start."""
    async with running(ItemPipeline) as world:
        for _ in range(5):
            signal(world)
        await world.settle()
        world.store.flush()
        world.store.faults = ["read leaders"]
        signal(world)
        await world.settle()
        assert clicks_on(world, "7") == 6


async def test_an_idle_flush_after_a_restart_leaves_the_watermark_where_it_is() -> None:
    async with running(ItemPipeline) as world:
        signal(world)
        await world.settle()
        world.store.faults = ["before"]  # the pipeline starts again, from the watermark of the first signal
        signal(world)
        await world.settle()
        await asyncio.sleep(0.8)  # the trending list is written
        assert trending(world) == ["7"]
        assert (await world.store.watermarks(item_watermarks_key(0)))["item-signals"] == 1
        assert world.pipeline.failed is None


async def test_a_flush_is_noticed_without_any_new_record() -> None:
    async with running(ItemPipeline) as world:
        signal(world)
        await world.settle()
        world.store.flush()
        for _ in range(600):
            if world.rewinds:
                break
            await asyncio.sleep(0.005)
        await world.settle()
        assert clicks_on(world, "7") == 1


async def test_what_is_popular_is_written_soon_after() -> None:
    async with running(ItemPipeline) as world:
        signal(world, "7")
        await world.settle()
        await asyncio.sleep(0.8)
        assert trending(world) == ["7"]


async def test_closing_leaves_a_trending_list_that_contains_the_last_signals() -> None:
    async with running(ItemPipeline) as world:
        signal(world, "7")
        await world.settle()
        await world.pipeline.close()
        assert trending(world) == ["7"]


async def test_starting_again_from_the_store_does_not_forget_what_had_not_reached_the_trending_list() -> None:
    async with running(ItemPipeline) as world:
        signal(world, "7")
        await world.settle()
        world.store.faults = ["before"]
        signal(world, "8")
        await world.settle()
        await asyncio.sleep(0.5)
        assert set(trending(world)) == {"7", "8"}


async def test_hostile_signals_and_items_become_dead_letters() -> None:
    async with running(ItemPipeline) as world:
        signal(world)
        world.append("item-signals", b"\x00hostile")
        world.append("items", b"{}", key=b"7")
        world.append("items", b'{"item_id": "7"}', key=b"8")
        world.append("items", b'{"item_id": "7"}', key=b"7")
        signal(world)
        await world.settle()
        assert [letter.key for letter in world.sink.of("dead-letters")] == [b"item-signals:0:1", b"items:0:0", b"items:0:1"]
        assert clicks_on(world, "7") == 2
