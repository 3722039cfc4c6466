"""Models that API processes share: every version whole, bit for bit the learner's, never copied, and never touched while read."""

from __future__ import annotations

import faulthandler
import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np

from feature_store.keys import MODEL_INDEX
from feature_store.model_pages import PageWriter
from feature_store.page_replica import Replica
from feature_store.shared_slots import SLOTS, SlotReader, Slots, SlotWriter, placed
from serving.followed_model import FollowedModel
from serving.guarded_store import GuardedStore
from serving.learner_pages import LearnerPages
from serving.shared_models import SharedModels
from serving.snapshot_writer import SnapshotWriter
from stream_workers.models.online.origin import origin_of
from stream_workers.models.scoring_bank import ScoringBank
from tests.learned_world import MINUTE, Learner, answer, differences, same_state, whole
from tests.test_serving_world import NOW, NUMBERS, CountingStore
from tests.test_shared_slots import WORDS, forked


class Shared:
    """A store that is followed into slots, and some processes' views of them."""

    def __init__(self, readers: int = 2) -> None:
        self.store = CountingStore()
        self.learner = Learner(self.store)
        self.slots = Slots()
        self.waited: list[float] = []
        self.pages = self.follower()
        self.readers = [SharedModels(self.slots, ScoringBank(NUMBERS), self.waited.append) for _ in range(readers)]

    def follower(self) -> LearnerPages:
        return LearnerPages(GuardedStore(self.store, 1.0), origin_of(NUMBERS), SnapshotWriter(self.slots).write)

    async def follow(self) -> None:
        await self.pages.refresh()
        for reader in self.readers:
            await reader.refresh()


def used(models: SharedModels) -> FollowedModel:
    assert models.current is not None
    return models.current


async def test_every_commit_is_seen_by_every_reader_bit_for_bit() -> None:
    shared = Shared()
    learner = shared.learner
    learner.two_tastes(NOW - 100 * MINUTE, users=10)
    for round_ in range(7):
        users, items = ["ann", f"newcomer{round_}"], [f"h{round_}", f"novelty{round_}"]
        learner.learn(users, items, [NOW - (50 - round_) * MINUTE] * 2, ("device=tv",))
        learner.commit(NOW + round_)
        await shared.follow()
        for reader in shared.readers:
            model = used(reader)
            assert same_state(model.bank, learner.bank) == []
            assert answer(model.bank) == answer(whole(learner.bank))
            assert (model.learnt, model.newest_ms) == (learner.bank.learnt, learner.newest)
            assert model.contexts is not None
            told, truth = (c.candidates(["device=tv"], NOW, 9) for c in (model.contexts, learner.contexts))
            assert (told[0], told[1].tolist()) == (truth[0], truth[1].tolist())
            assert reader.index is not None
            assert (reader.index.events, reader.index.at) == (learner.bank.learnt, NOW + round_)
    assert len(shared.waited) == 12
    assert max(shared.waited) < 1


async def test_a_catalogue_that_outgrows_its_arrays_and_a_user_who_is_forgotten() -> None:
    shared = Shared(1)
    learner = shared.learner
    for start in (0, 900, 2400):
        count = 900 if start == 0 else 1500
        learner.learn(
            [f"user{n}" for n in range(start, start + count)], [f"item{n}" for n in range(start, start + count)], [NOW] * count
        )
        learner.commit(NOW + start)
        await shared.follow()
        assert same_state(used(shared.readers[0]).bank, learner.bank) == []
    learner.bank.forget("user7")
    learner.commit(NOW + 9000)
    await shared.follow()
    model = used(shared.readers[0])
    assert same_state(model.bank, learner.bank) == []
    assert not model.remembers("user7")
    assert model.remembers("user8")


async def test_a_version_that_answers_is_never_touched() -> None:
    shared = Shared(1)
    learner, reader = shared.learner, shared.readers[0]
    learner.two_tastes(NOW - 100 * MINUTE)
    learner.commit(NOW)
    await shared.follow()
    before = used(reader)
    state, told = {name: array.copy() for name, array in before.bank.state().items()}, answer(before.bank)
    for number in range(2 * SLOTS):
        learner.learn(["fan1"] * 2, ["h1", f"brand new {number}"], [NOW] * 2)
        learner.commit(NOW + 1 + number)
        await shared.follow()
    assert used(reader) is not before
    assert same_state(used(reader).bank, learner.bank) == []
    assert answer(before.bank) == told
    assert not before.knows(["brand new 0"])
    assert differences(before.bank.state(), state) == []


async def test_the_arrays_are_in_memory_that_cannot_be_written_to() -> None:
    shared = Shared(1)
    shared.learner.two_tastes(NOW)
    shared.learner.commit(NOW)
    await shared.follow()
    bank = used(shared.readers[0]).bank
    weights, readable = bank.state()["pairs.weights"], read_only_mappings()
    assert any(start <= weights.ctypes.data < end for start, end in readable), "not a copy"
    assert len(answer(bank)[0]) > 0, "asking writes to nothing that is shared"
    assert signal_after(lambda: bool(weights.fill(7.0))) == signal.SIGSEGV, "whoever writes ends there"
    assert same_state(bank, shared.learner.bank) == []


def signal_after(body: Callable[[], bool]) -> int:
    """What ends a process that does this."""

    def quietly() -> bool:
        faulthandler.disable()
        return body()

    return os.waitpid(forked(quietly), 0)[1] & 0x7F


def read_only_mappings() -> list[tuple[int, int]]:
    """Where this process has slots mapped, shared and only to be read."""
    lines = [line.split() for line in Path("/proc/self/maps").read_text().splitlines() if "freshet-models" in line]
    places = [line[0].split("-") for line in lines if line[1] == "r--s"]
    return [(int(start, 16), int(end, 16)) for start, end in places]


def test_pages_that_a_slot_has_are_not_copied_and_no_change_is_missed() -> None:
    """Of an array of many pages each commit changes one; another becomes shorter, and then longer with zeros at its end."""
    slots, store, pages, replica = Slots(), dict[bytes, bytes](), PageWriter(1, "test"), Replica()
    writer, wide = SnapshotWriter(slots), np.ones(1 << 19, np.uint8)
    lengths = [250_000, 250_000, 250_000, 140_000, 140_000, 250_000, 250_000, 10, 250_000]
    for number, length in enumerate(lengths):
        wide[number << 15] = 100 + number
        text = np.where(np.arange(length) < 10, 1, 0 if number >= 5 else 7).astype(np.uint8)
        changes = pages.changes({"wide": wide, "x.text": text}, number, NOW + number)
        store = {key: blob for key, blob in (store | dict(changes.puts)).items() if key not in set(changes.deletes)}
        assert replica.take([store[place.key] for place in replica.wanted(store[MODEL_INDEX])])
        assert replica.index is not None
        writer.write(replica.index, replica.state)
        snapshot = SlotReader(slots).take()
        assert snapshot is not None
        assert np.array_equal(snapshot.arrays["wide"], wide)
        assert np.array_equal(snapshot.arrays["x.text"], text)


async def test_a_follower_that_comes_anew_goes_on_and_without_one_the_models_stay() -> None:
    shared = Shared(1)
    learner, reader = shared.learner, shared.readers[0]
    learner.two_tastes(NOW - 10 * MINUTE)
    for number in range(3):
        learner.learn(["fan1"], [f"h{number}"], [NOW + number])
        learner.commit(NOW + number)
        await shared.follow()
    kept = used(reader)
    await reader.refresh()
    assert used(reader) is kept
    shared.pages = shared.follower()
    learner.learn(["fan2"], ["h9"], [NOW + 9])
    learner.commit(NOW + 9)
    await shared.follow()
    assert same_state(used(reader).bank, learner.bank) == []
    late = SharedModels(shared.slots, ScoringBank(NUMBERS), shared.waited.append)
    await late.refresh()
    assert answer(used(late).bank) == answer(whole(learner.bank))


async def test_models_that_begin_anew_and_a_store_that_lost_its_last_commits() -> None:
    shared = Shared(1)
    shared.learner.two_tastes(NOW - 10 * MINUTE)
    shared.learner.commit(NOW)
    await shared.follow()
    kept = dict(shared.store.blobs)
    for number in range(2):
        shared.learner.learn(["fan1", "new"], [f"h{number}", "lost"], [NOW, NOW])
        shared.learner.commit(NOW + 1 + number)
        await shared.follow()
    shared.store.blobs = kept
    twin = Learner(shared.store)
    twin.two_tastes(NOW - 10 * MINUTE)
    await shared.follow()
    assert same_state(used(shared.readers[0]).bank, twin.bank) == []
    anew = Learner(shared.store, epoch=2)
    for number in range(4):
        anew.learn(["bob"], [f"h{number}"], [NOW])
        anew.commit(NOW + 5 + number)
        await shared.follow()
        assert same_state(used(shared.readers[0]).bank, anew.bank) == []


async def test_models_of_other_settings_are_refused_and_those_before_stay() -> None:
    shared = Shared(1)
    shared.learner.two_tastes(NOW)
    shared.learner.commit(NOW)
    await shared.follow()
    other = SharedModels(shared.slots, ScoringBank(NUMBERS._replace(vector_size=16)), shared.waited.append)
    await other.refresh()
    assert (other.current, other.faults) == (None, 1)
    before = used(shared.readers[0])
    SlotWriter(shared.slots).write(placed(WORDS, lambda _: False), used_about(shared), lambda _, __: None)
    await shared.readers[0].refresh()
    assert (shared.readers[0].current, shared.readers[0].faults) == (before, 1)


def used_about(shared: Shared) -> dict[str, object]:
    return {"epoch": 1, "commit": 9, "origin": "", "events": 1, "at": 1}
