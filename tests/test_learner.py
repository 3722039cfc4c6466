"""The learner without servers: what it does with merged events, and its state in the store."""

from __future__ import annotations

import numpy as np
import orjson
import pytest

from feature_store.catalogue import Catalogue
from feature_store.keys import JUDGE_ARRAYS, MODEL_INDEX, MODEL_PREFIX, SCOREBOARD, learner_watermarks_key
from feature_store.memory import MemoryStore
from feature_store.page_format import unpack_index
from schemas.errors import Fenced
from schemas.events import EventType
from stream_workers.handlers.interaction_merge import Merged
from stream_workers.handlers.interactions import FORGET
from stream_workers.handlers.learning_stage import LearningStage
from stream_workers.learner_shelf import LearnerShelf
from stream_workers.learner_thread import StageThread
from stream_workers.models.online.context_popularity import PREFIX
from stream_workers.models.online.origin import origin_of
from stream_workers.models.online.settings import BankSettings
from tests.tiny_bank import TinyBank

START = 1_767_225_600_000
CLICK, RATING = int(EventType.CLICK), int(EventType.RATING)
Row = tuple[str, str, int]  # user, item, type


def merged(rows: list[Row], values: float = np.nan, undo: bool = False, lots: int = 0) -> Merged:
    n = len(rows)
    users, items, types = (list(column) for column in zip(*rows, strict=True))
    return Merged(
        users, items, [()] * n, np.array(types, np.uint8), np.full(n, values, np.float32), np.full(n, undo),
        START + np.arange(n), np.full(n, lots, np.uint64),
    )  # fmt: skip


def new_stage(sample: float = 1.0, bank: TinyBank | None = None) -> LearningStage:
    return LearningStage(bank or TinyBank(), sample, repeats=False)


# --- the stage ------------------------------------------------------------------------------------------------------------


def test_events_are_ranked_before_they_are_learnt() -> None:
    stage = new_stage()
    stage.apply(merged([("u", "7", CLICK), ("v", "7", CLICK), ("w", "8", CLICK), ("x", "7", CLICK)]))
    report = stage.report(5)
    assert (report["events"], report["ranked"], report["newest_event_at"], report["at"]) == (4, 4, START + 3, 5)
    assert report["models"]["blend"]["total"]["recall@10"] == 0.5, "the first event of an item is a miss"


def test_forgetting_takes_its_place_between_the_events_and_is_no_event() -> None:
    bank = TinyBank()
    stage = new_stage(bank=bank)
    stage.apply(merged([("u", "7", CLICK), ("v", "7", CLICK), ("u", "", FORGET), ("u", "8", CLICK), ("v", "", FORGET)]))
    assert (bank.count("users", "u"), bank.count("users", "v"), bank.count("items", "7")) == (1, 0, 2)
    assert stage.events == 3
    stage.apply(merged([("u", "", FORGET)]))
    assert (bank.count("users", "u"), stage.events) == (0, 3)


@pytest.mark.parametrize(
    ("kind", "undo", "lots", "sample", "ranked"),
    [
        (CLICK, False, 0, 0.02, 1),
        (CLICK, False, 2**63, 0.02, 0),
        (CLICK, False, 2**64 - 1, 1.0, 1),
        (CLICK, False, 0, 0.0, 0),
        (CLICK, True, 0, 1.0, 0),
        (int(EventType.DISLIKE), False, 0, 1.0, 0),
        (int(EventType.HIDE), False, 0, 1.0, 0),
    ],
)
def test_the_sample_is_drawn_by_lot_from_what_speaks_for_an_item(
    kind: int, undo: bool, lots: int, sample: float, ranked: int
) -> None:
    stage = new_stage(sample)
    stage.apply(merged([("u", "7", kind)], undo=undo, lots=lots))
    assert (stage.report(0)["ranked"], stage.events) == (ranked, 1)


def test_ratings_are_judged_except_those_without_a_value_and_those_taken_back() -> None:
    stage = new_stage()
    stage.apply(merged([("u", "7", RATING)], values=4.0))
    stage.apply(merged([("u", "7", RATING)], values=4.0, undo=True))
    stage.apply(merged([("u", "7", RATING)]))
    stage.apply(merged([("u", "7", CLICK)], values=4.0))
    assert stage.report(0)["ratings"]["events"] == 1


def test_a_loaded_stage_goes_on_as_the_saved_one() -> None:
    rows = [(f"u{n % 5}", str(n % 7), RATING if n % 3 else CLICK) for n in range(60)]
    one, other = new_stage(0.5), new_stage(0.5)
    one.apply(merged(rows[:40], values=3.0))
    other.load({name: array.copy() for name, array in one.state().items()})
    for stage in (one, other):
        stage.apply(merged(rows[40:], values=2.0))
    assert one.report(1) == other.report(1)
    assert all(np.array_equal(array, other.state()[name]) for name, array in one.state().items())


# --- the shelf ------------------------------------------------------------------------------------------------------------


async def opened(store: MemoryStore, origin: str = "a", now: int = 1, width: int = 16) -> LearnerShelf:
    return await LearnerShelf.open(store, lambda: new_stage(bank=TinyBank(width)), origin, now)


async def learnt(store: MemoryStore, marks: dict[str, int]) -> LearnerShelf:
    shelf = await opened(store)
    shelf.stage.apply(merged([("u", "7", CLICK), ("v", "7", CLICK)]))
    await shelf.commit(marks, 10)
    return shelf


async def test_what_was_committed_is_taken_over_with_its_marks() -> None:
    store = MemoryStore()
    first = await learnt(store, {"interactions:0": 4, "clicks:0": 9})
    index = unpack_index(store.blobs[MODEL_INDEX])
    assert (index.epoch, index.events, index.at, index.origin) == (1, 2, 10, "a")
    assert orjson.loads(store.blobs[SCOREBOARD])["events"] == 2
    again = await opened(store, now=99)
    assert again.marks == {"interactions:0": 4, "clicks:0": 9}
    assert again.stage.report(0) == first.stage.report(0)
    again.stage.apply(merged([("u", "7", CLICK)]))
    await again.commit({"clicks:0": 10}, 11)
    assert unpack_index(store.blobs[MODEL_INDEX]).epoch == 1, "the same models still"
    third = await opened(store)
    assert (third.stage.events, third.marks) == (3, {"interactions:0": 4, "clicks:0": 10})


async def test_the_older_of_two_learners_cannot_write() -> None:
    store = MemoryStore()
    old = await learnt(store, {"clicks:0": 1})
    new = await opened(store)
    await new.commit({"clicks:0": 2}, 1)
    before = dict(store.blobs)
    old.stage.apply(merged([("u", "7", CLICK)]))
    with pytest.raises(Fenced):
        await old.commit({"clicks:0": 5}, 1)
    assert (store.blobs, await store.watermarks(learner_watermarks_key())) == (before, {"clicks:0": 2})


async def test_a_flushed_store_is_noticed_also_when_nothing_is_learnt() -> None:
    store = MemoryStore()
    shelf = await learnt(store, {"clicks:0": 1})
    await shelf.probe()
    store.flush()
    with pytest.raises(Fenced):
        await shelf.probe()
    assert (await opened(store)).marks == {}


@pytest.mark.parametrize(
    "reason", ["other settings", "other arrays", "a damaged page", "a damaged index", "a missing page", "no index"]
)
async def test_models_that_cannot_be_taken_over_are_begun_anew_and_nothing_of_them_stays(
    reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = MemoryStore()
    await learnt(store, {"interactions:0": 4, "clicks:0": 9})
    page = next(key for key in sorted(store.blobs) if key.startswith(MODEL_PREFIX) and key != MODEL_INDEX)
    if reason == "a damaged page":
        store.blobs[page] = store.blobs[page][:-1] + b"?"
    elif reason == "a damaged index":
        store.blobs[MODEL_INDEX] = store.blobs[MODEL_INDEX][1:]
    elif reason == "a missing page":
        del store.blobs[page]
    elif reason == "no index":
        del store.blobs[MODEL_INDEX]
    store.blobs[MODEL_PREFIX + b"of an older version:0"] = b"x"
    shelf = await opened(
        store, origin="b" if reason == "other settings" else "a", now=77, width=8 if reason == "other arrays" else 16
    )
    assert shelf.stage.events == 0
    assert shelf.marks == {"interactions:0": -1, "clicks:0": -1}, "no old mark may outlive the models it was for"
    assert reason == "no index" or "learning everything again" in caplog.text
    await shelf.commit({"clicks:0": 0}, 1)
    index = unpack_index(store.blobs[MODEL_INDEX])
    assert (index.epoch, index.events) == (77, 0)
    assert not any(key.startswith(MODEL_PREFIX) and b"older" in key for key in store.blobs)
    width = 8 if reason == "other arrays" else 16
    again = await opened(store, origin=index.origin, width=width)
    assert again.marks == {"interactions:0": -1, "clicks:0": 0}


def test_origins_differ_by_any_number_of_the_settings() -> None:
    assert origin_of(BankSettings()) == origin_of(BankSettings()) != origin_of(BankSettings(seed=8))


def test_only_the_learner_needs_what_the_judges_keep() -> None:
    state = new_stage().state()
    assert TinyBank().state().keys() == {name for name in state if not name.startswith((JUDGE_ARRAYS, PREFIX))}


# --- the catalogue --------------------------------------------------------------------------------------------------------


def test_who_watches_the_catalogue_sees_every_change() -> None:
    catalogue = Catalogue()
    catalogue.apply(None, b'{"item_id": "1"}')
    changed = catalogue.watch()
    catalogue.apply(None, b'{"item_id": "2"}')
    catalogue.apply(b"1", None)
    catalogue.apply(None, b'{"item_id": "3", "title": "Alien"}')
    assert changed == {"2", "3"}


def test_the_year_of_the_catalogue_is_told_with_the_title() -> None:
    catalogue = Catalogue()
    catalogue.apply(None, b'{"item_id": "1", "title": "Alien", "attributes": {"year": 1979}}')
    catalogue.apply(None, b'{"item_id": "2", "title": "Alien", "attributes": {"year": "1979"}}')
    catalogue.apply(None, b'{"item_id": "3", "attributes": {"year": 10000}}')
    assert [catalogue[str(n)].dated_title for n in (1, 2, 3)] == ["Alien (1979)", "Alien", None]


# --- the thread -----------------------------------------------------------------------------------------------------------


def test_after_a_failure_nothing_more_is_done_in_the_thread_of_the_models() -> None:
    thread, done = StageThread(), list[int]()
    tasks = [thread.submit(done.append, 1), thread.submit(divmod, 1, 0), thread.submit(done.append, 2)]
    tasks[0].result(5)
    for late in tasks[1:]:
        with pytest.raises(ZeroDivisionError):
            late.result(5)
    assert done == [1]
    thread.close()
