"""The API's replica of the learner's models: always one whole version, whatever the store does, and bit for bit the learner's."""

from __future__ import annotations

import asyncio
import logging

import numpy as np
import pytest

from feature_store import page_rewriting
from feature_store.keys import MODEL_INDEX, MODEL_PREFIX
from schemas.errors import StoreUnavailable
from serving.followed_model import FollowedModel
from serving.guarded_store import GuardedStore
from serving.model_replica import ModelReplica
from stream_workers.models.online.bank import ModelBank
from stream_workers.models.online.origin import origin_of
from stream_workers.models.online.settings import BankSettings
from stream_workers.models.scoring_bank import ScoringBank
from tests.learned_world import MINUTE, Learner, answer, differences, same_state, whole
from tests.test_serving_world import NOW, NUMBERS, CountingStore

GONE = StoreUnavailable("Redis: ConnectionError: refused")


def replica_of(store: CountingStore, numbers: BankSettings = NUMBERS, origin: str = origin_of(NUMBERS)) -> ModelReplica:
    return ModelReplica(GuardedStore(store, 1.0), lambda: ScoringBank(numbers), origin)


def committed(until: int = NOW) -> tuple[CountingStore, Learner, ModelReplica]:
    """Two tastes, learnt up to this time and committed; the replica has not looked yet."""
    store = CountingStore()
    learner, replica = Learner(store), replica_of(store)
    learner.two_tastes(until)
    learner.commit(NOW)
    return store, learner, replica


def followed(replica: ModelReplica) -> FollowedModel:
    assert replica.current is not None
    return replica.current


async def test_nothing_stored_is_nothing_followed() -> None:
    replica = replica_of(CountingStore())
    await replica.refresh()
    assert (replica.current, replica.index, replica.faults) == (None, None, 0)


async def test_every_commit_is_followed_bit_for_bit() -> None:
    store = CountingStore()
    learner, replica = Learner(store), replica_of(store)
    learner.two_tastes(NOW - 100 * MINUTE, users=10)
    for round_ in range(6):
        learner.learn(["ann", f"newcomer{round_}"], [f"h{round_}", f"novelty{round_}"], [NOW - (50 - round_) * MINUTE] * 2)
        learner.commit(NOW + round_)
        await replica.refresh()
        model = followed(replica)
        assert same_state(model.bank, learner.bank) == []
        assert answer(model.bank) == answer(whole(learner.bank))
        assert (model.learnt, model.newest_ms) == (learner.bank.learnt, learner.newest)
    assert replica.index is not None
    assert (replica.index.events, replica.index.at) == (learner.bank.learnt, NOW + 5)


async def test_a_catalogue_that_outgrows_its_arrays_is_followed() -> None:
    store = CountingStore()
    learner, replica = Learner(store), replica_of(store)
    for start in (0, 900, 2400):
        count = 900 if start == 0 else 1500
        items = [f"item{n}" for n in range(start, start + count)]
        learner.learn([f"user{n}" for n in range(start, start + count)], items, [NOW] * count)
        learner.commit(NOW + start)
        await replica.refresh()
        assert same_state(followed(replica).bank, learner.bank) == []


async def test_a_version_that_answers_is_never_touched() -> None:
    _, learner, replica = committed(NOW - 100 * MINUTE)
    await replica.refresh()
    before = followed(replica)
    state, told = {name: array.copy() for name, array in before.bank.state().items()}, answer(before.bank)
    learner.learn(["fan1"] * 3, ["h1", "h2", "brand new"], [NOW] * 3)
    learner.commit(NOW + 1)
    await replica.refresh()
    assert followed(replica) is not before
    assert answer(before.bank) == told
    assert differences(before.bank.state(), state) == []


async def test_only_changed_pages_are_fetched() -> None:
    store, learner, replica = committed(NOW - MINUTE)
    await replica.refresh()
    asked: list[bytes] = []
    read = store.read

    async def noting(keys):  # type: ignore[no-untyped-def]
        asked.extend(keys)
        return await read(keys)

    store.read = noting  # type: ignore[method-assign]
    await replica.refresh()
    assert asked == [MODEL_INDEX]
    learner.learn(["fan1"], ["h1"], [NOW])
    learner.commit(NOW + 1)
    await replica.refresh()
    assert 1 < len(asked) < sum(key.startswith(MODEL_PREFIX) for key in store.blobs)


async def test_without_a_store_the_models_stay() -> None:
    store, _, replica = committed()
    await replica.refresh()
    before = followed(replica)
    store.fault = GONE
    with pytest.raises(StoreUnavailable):
        await replica.refresh()
    store.fault = None
    store.flush()
    await replica.refresh()
    assert replica.current is before


@pytest.mark.parametrize("damage", ["index", "page", "missing page", "delta", "missing delta"])
async def test_damage_leaves_the_old_models_and_is_told_once(
    damage: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, learner, replica = committed()
    await replica.refresh()
    before, stored = followed(replica), dict(store.blobs)
    if damage.endswith("page"):
        monkeypatch.setattr(page_rewriting, "MOST_DELTAS", 1)  # so that what changed is read from pages
    learner.learn(["fan1"] * 5, ["h1", "h2", "h3", "h4", "h5"], [NOW] * 5)
    learner.commit(NOW + 1)
    written = [key for key, blob in store.blobs.items() if blob != stored.get(key) and key.startswith(MODEL_PREFIX)]
    kinds = {key: "index" if key == MODEL_INDEX else "delta" if b"delta@" in key else "page" for key in written}
    key = next(key for key in written if damage.endswith(kinds[key]))
    whole = store.blobs[key]
    if damage.startswith("missing"):
        del store.blobs[key]
    else:
        store.blobs[key] = whole[:-3] + b"xyz"
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            await replica.refresh()
    assert replica.current is before
    assert replica.faults >= 1
    assert len([record for record in caplog.records if "models:" in record.getMessage()]) == 1
    store.blobs[key] = whole
    await replica.refresh()
    if replica.current is before:  # the same index is not tried again before the learner's next commit
        learner.commit(NOW + 2)
        await replica.refresh()
    assert same_state(followed(replica).bank, learner.bank) == []


async def test_models_of_other_settings_or_another_version_are_not_taken_over() -> None:
    store, _, _ = committed()
    for replica in (replica_of(store, NUMBERS._replace(vector_size=16)), replica_of(store, origin="of another version")):
        await replica.refresh()
        await replica.refresh()
        assert (replica.current, replica.faults) == (None, 1)


async def test_models_that_begin_anew_replace_the_old_ones() -> None:
    store, _, replica = committed()
    await replica.refresh()
    anew = Learner(store, epoch=2)
    anew.learn(["bob"], ["h1"], [NOW])
    anew.commit(NOW + 1)
    await replica.refresh()
    assert same_state(followed(replica).bank, anew.bank) == []
    anew.learn(["bob"], ["h2"], [NOW + 1])
    anew.commit(NOW + 2)
    await replica.refresh()
    await replica.refresh()
    assert same_state(followed(replica).bank, anew.bank) == []


async def test_a_store_that_lost_its_last_commits_is_followed_back() -> None:
    store, learner, replica = committed(NOW - 10 * MINUTE)
    await replica.refresh()
    kept = dict(store.blobs)
    twin = Learner(store)
    twin.two_tastes(NOW - 10 * MINUTE)
    twin.commit(NOW)
    store.blobs = dict(kept)
    for number in range(2):
        learner.learn(["fan1", "new"], [f"h{number}", "lost"], [NOW, NOW])
        learner.commit(NOW + 1 + number)
        await replica.refresh()
    store.blobs = kept
    await replica.refresh()
    assert same_state(followed(replica).bank, twin.bank) == []
    for number in range(3):
        twin.learn(["fan1"], [f"c{number}"], [NOW + 5 + number])
        twin.commit(NOW + 5 + number)
        await replica.refresh()
        assert same_state(followed(replica).bank, twin.bank) == []


@pytest.mark.parametrize("most_deltas", [1, 2, 64])
async def test_a_commit_between_index_and_pages_is_no_mixture(most_deltas: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one delta at most, every commit rewrites all pages: nearly every read is torn. Of many, hardly any."""
    monkeypatch.setattr(page_rewriting, "MOST_DELTAS", most_deltas)
    store, learner, replica = committed()
    read, interfere = store.read, 6
    states = {1: copied(learner.bank)}

    async def racing(keys):  # type: ignore[no-untyped-def]
        nonlocal interfere
        blobs = await read(keys)
        if keys == [MODEL_INDEX] and interfere:
            interfere -= 1
            learner.learn(["fan1"], [f"h{interfere}"], [NOW])
            learner.commit(NOW + 10 - interfere)
            states[len(states) + 1] = copied(learner.bank)
        return blobs

    store.read = racing  # type: ignore[method-assign]
    while interfere:
        await replica.refresh()
        if replica.index is not None:
            assert differences(followed(replica).bank.state(), states[replica.index.commit]) == []
    await replica.refresh()
    assert same_state(followed(replica).bank, learner.bank) == []
    assert replica.faults == 0


def copied(bank: ModelBank) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
    return {name: array.copy() for name, array in bank.state().items()}


async def test_requests_go_on_while_the_models_are_brought_up_to_date() -> None:
    _, learner, replica = committed()
    await replica.refresh()
    refreshing = asyncio.create_task(replica.refresh())
    longest, last = 0.0, asyncio.get_running_loop().time()
    for n in range(50):
        learner.learn(["fan1"], [f"h{n % 40}"], [NOW + n])
        learner.commit(NOW + n)
        last = asyncio.get_running_loop().time()
        await asyncio.sleep(0)
        longest = max(longest, asyncio.get_running_loop().time() - last)
        if refreshing.done():
            refreshing = asyncio.create_task(replica.refresh())
    await refreshing
    assert longest < 0.25
