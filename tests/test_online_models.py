"""One suite that every online model passes, alone behind `OnlineModel`; the bank is the last of them."""

from __future__ import annotations

from heapq import merge

import numpy as np
import pytest

from feature_store.keys import MODEL_INDEX
from feature_store.memory import MemoryStore
from feature_store.model_pages import PageWriter, Replica
from feature_store.port import Writes
from schemas.errors import InvalidSettings
from schemas.events import EventType
from schemas.ids import partition_of
from stream_workers.models.online.columns import Interactions
from stream_workers.models.online.interface import UNSEEN, OnlineModel, UserState
from stream_workers.models.online.settings import BankSettings
from tests.online_models import (
    CLASSES,
    MINUTE,
    POPULAR,
    START,
    answers,
    anybody,
    copied,
    cut,
    differences,
    mixed,
    told,
    two_tastes,
    unsound,
)  # fmt: skip

NUMBERS = BankSettings(max_events=1024, max_items=512, max_users=512, covisit_neighbours=16)
YEAR = 365 * 24 * 60 * MINUTE

pytestmark = pytest.mark.parametrize("name", CLASSES)


def new(name: str, numbers: BankSettings = NUMBERS) -> OnlineModel:
    return CLASSES[name](numbers)


def taught(name: str, *batches: Interactions, numbers: BankSettings = NUMBERS) -> OnlineModel:
    model = new(name, numbers)
    for batch in batches:
        model.learn_many(batch)
    return model


def test_the_same_events_make_the_same_model(name: str) -> None:
    one, other = taught(name, mixed(300)), taught(name, mixed(300))
    assert differences(one.state(), other.state()) == []
    assert answers(one) == answers(other)
    assert one.name == name
    assert differences(one.state(), taught(name, mixed(300, seed=2)).state()) != [], "it learns something"


@pytest.mark.parametrize("size", [1, 7, 100])
def test_batches_do_not_matter(name: str, size: int) -> None:
    batch = mixed(300)
    whole, pieces = taught(name, batch), taught(name, *cut(batch, size))
    assert differences(whole.state(), pieces.state()) == []
    assert answers(whole) == answers(pieces)


@pytest.mark.parametrize("partitions", [2, 5])
def test_partitions_that_are_merged_are_one_stream(name: str, partitions: int) -> None:
    batch = mixed(300)
    owner = np.array([partition_of(user, partitions) for user in batch.users])
    streams = [[(int(batch.timestamps[e]), e) for e in np.flatnonzero(owner == p)] for p in range(partitions)]
    assert min(map(len, streams)) > 20
    order = [e for _, e in merge(*streams)]
    parts = [Interactions._make(c[e : e + 1] for c in batch) for e in order]
    assert differences(taught(name, batch).state(), taught(name, *parts).state()) == []


async def test_a_stored_model_goes_on_as_if_nothing_had_happened(name: str) -> None:
    store, replica, pages = MemoryStore(), Replica(), PageWriter(1, "test")
    writer = await store.claim(b"marks")
    model = new(name)
    for number, batch in enumerate(cut(mixed(300), 100)):  # changed pages only, from the second on
        model.learn_many(batch)
        changes = pages.changes(model.state(), 0, number)
        await writer.commit(Writes(changes.puts, changes.deletes, {"x:0": number}))
        wanted = replica.wanted((await store.read([MODEL_INDEX]))[0] or b"")
        assert replica.take(await store.read([place.key for place in wanted])), replica.faults
    follower = new(name)
    follower.load(replica.state)
    assert differences(model.state(), follower.state()) == []
    more = mixed(300, seed=5, users=40, items=60, start=START + 400 * MINUTE)
    model.learn_many(more)
    follower.learn_many(more)
    assert differences(model.state(), follower.state()) == []
    assert answers(model) == answers(follower)


def test_a_loaded_state_is_a_copy(name: str) -> None:
    model, other = taught(name, mixed(100)), new(name)
    state = copied(model.state())
    other.load(state)
    before = copied(state)
    other.learn_many(mixed(100, seed=3))
    assert differences(before, state) == []


def test_the_state_of_something_else_is_refused(name: str) -> None:
    state = copied(taught(name, mixed(50)).state())
    state.pop("log.item")
    with pytest.raises(InvalidSettings, match=r"log\.item is missing"):
        new(name).load(state)


def test_what_is_given_stays_as_it_was(name: str) -> None:
    batch = mixed(200)
    for column in batch:
        if isinstance(column, np.ndarray):
            column.setflags(write=False)
    lists = [list(column) for column in batch if isinstance(column, list)]
    model = taught(name, batch)
    assert [column for column in batch if isinstance(column, list)] == lists
    for who in anybody():
        who.types.setflags(write=False)
        who.timestamps.setflags(write=False)
        items = list(who.items)
        model.score(who, ["i1"])
        model.candidates(who, 3)
        assert who.items == items


def test_asking_teaches_nothing(name: str) -> None:
    model = taught(name, mixed(200))
    before, first = copied(model.state()), answers(model)
    assert answers(model) == first
    assert differences(model.state(), before) == []


def test_nothing_is_known_at_first(name: str) -> None:
    model = new(name)
    model.learn_many(told([]))
    for who in anybody():
        assert model.score(who, ["i1", "i2"]).tolist() == [UNSEEN, UNSEEN]
        assert model.candidates(who, 5) == []
    assert model.score(anybody()[0], []).shape == (0,)


def test_unknown_users_and_items_are_answered(name: str) -> None:
    model = taught(name, mixed(300))
    for who in anybody():
        scores = model.score(who, ["never seen", "i1", "i2"])
        assert scores.dtype == np.float32
        assert np.isfinite(scores).all()
        assert scores[0] == UNSEEN
        found = model.candidates(who, 10)
        assert 0 < len(found) == len(set(found)) <= 10
        assert not set(who.items) & set(found), "what somebody had is not proposed again"
        scored = model.score(who, found)
        assert (np.diff(scored) <= 0).all(), "best first"
        assert model.candidates(who, 0) == []


def hostile(case: str) -> Interactions:
    """Streams that nobody should send."""
    plain = mixed(400)
    rng = np.random.default_rng(3)
    times = {
        "one moment": np.full(400, START),
        "backwards by years": START - np.arange(400) * YEAR // 12,
        "forth and back": START + rng.integers(-30, 30, 400) * YEAR,
        "ends of time": np.where(rng.random(400) < 0.5, 631_152_000_000, 2**53),
    }
    if case in times:
        return plain._replace(timestamps=times[case].astype(np.int64))
    if case == "contradictions":
        kinds = [EventType.LIKE, EventType.DISLIKE, EventType.DISLIKE, EventType.LIKE, EventType.HIDE, EventType.CLICK]
        rows = [("u1", f"i{n // 6 % 3}", kinds[n % 6], START + n) for n in range(400)]
        return told(rows, [n for n in range(400) if n % 6 in (2, 3)])
    if case == "one item":
        return plain._replace(items=["i1"] * 400)
    if case == "one event":
        return told([("u1", "i1", EventType.CLICK, START)] * 400)
    if case == "values":
        values = rng.choice([1e30, -1e30, 3.4e38, np.inf, -np.inf, np.nan, 5.0], size=400).astype(np.float32)
        return plain._replace(types=np.full(400, EventType.RATING, np.uint8), values=values)
    return told([("u1", f"i{rng.integers(500)}", EventType.CLICK, START + n) for n in range(400)])


CASES = (
    "one moment", "backwards by years", "forth and back", "ends of time", "contradictions", "one item", "one event", "values",
    "one user",
)  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_hostile_streams_leave_numbers_finite(name: str, case: str) -> None:
    model = new(name)
    for batch in (mixed(100), hostile(case), mixed(100, seed=9)):
        model.learn_many(batch)
        assert unsound(model) == []
        for now in (START, 631_152_000_000, 2**53):
            for scores, found in answers(model, now):
                assert np.isfinite(scores).all()
                assert len(found) == len(set(found))


def test_memory_is_bounded_by_the_settings(name: str) -> None:
    """More items, users and events than fit, again and again."""
    numbers = NUMBERS._replace(max_items=30, max_users=20, max_events=128)
    model = taught(name, mixed(400, users=300, items=300), numbers=numbers)
    first = sum(array.nbytes for n, array in model.state().items() if not n.endswith(("text", "ends")))
    for seed in range(2, 5):
        model.learn_many(mixed(400, seed=seed, users=300, items=300))
        state = model.state()
        assert sum(array.nbytes for n, array in state.items() if not n.endswith(("text", "ends"))) == first
        assert len(state["items.ends"]) <= 30
        assert len(state["users.ends"]) <= 20
        assert unsound(model) == []
        assert max(len(state[n]) for n in ("log.item_last", "log.user_last")) <= 30
    assert len(model.candidates(UserState.clicked(None, [], START), 100)) <= 30


@pytest.mark.parametrize("size", [1, 33])
def test_what_is_forgotten_does_not_depend_on_batches(name: str, size: int) -> None:
    numbers = NUMBERS._replace(max_items=30, max_users=20, max_events=128)
    batch = mixed(500, users=100, items=100)
    whole, pieces = taught(name, batch, numbers=numbers), taught(name, *cut(batch, size), numbers=numbers)
    assert differences(whole.state(), pieces.state()) == []
    assert answers(whole) == answers(pieces)


@pytest.mark.slow
def test_a_user_with_100_000_events_is_an_ordinary_user(name: str) -> None:
    rng = np.random.default_rng(8)
    numbers = NUMBERS._replace(max_events=8192, taken_limit=500)
    model = CLASSES[name](numbers, every=1000) if name == "blend" else new(name, numbers)  # type: ignore[call-arg]
    size = 0
    for part in range(10):
        what = rng.integers(300, size=10_000)
        model.learn_many(told([("u1", f"i{i}", EventType.CLICK, START + part * 10_000 + n) for n, i in enumerate(what)]))
        state = model.state()
        now = sum(array.nbytes for array in state.values())
        assert part == 0 or now == size
        size = now
    assert int(model.state()["log.total"][0]) == 100_000
    assert unsound(model) == []
    assert all(np.isfinite(scores).all() for scores, _ in answers(model))


def test_what_speaks_against_an_item_and_its_undoing(name: str) -> None:
    rows = [(f"u{n}", f"i{i}", EventType.CLICK, START + 10 * n + i) for n in range(9) for i in range(6)]
    model = taught(name, told(rows))
    who = UserState.clicked("eve", [], START + 1000)
    assert "i4" in model.candidates(who, 9)
    model.learn_many(told([("eve", "i4", EventType.DISLIKE, START + 900)]))
    assert "i4" not in model.candidates(who, 9)
    model.learn_many(told([("eve", "i4", EventType.DISLIKE, START + 901)], undo=[0]))
    assert "i4" in model.candidates(who, 9)


def test_repeats_allow_what_was_taken_but_not_what_was_refused(name: str) -> None:
    rows = [(f"u{n}", f"i{i}", EventType.CLICK, START + 10 * n + i) for n in range(9) for i in range(6)]
    rows += [("u1", "i4", EventType.HIDE, START + 900), ("u1", "i5", EventType.DISLIKE, START + 901)]
    who = UserState.clicked("u1", ["i1"], START + 1000)
    assert taught(name, told(rows)).candidates(who, 9) == []
    again = taught(name, told(rows), numbers=NUMBERS._replace(repeats=True))
    assert sorted(again.candidates(who, 9)) == ["i0", "i1", "i2", "i3"]
    again.learn_many(told([("u1", "i5", EventType.DISLIKE, START + 902)], undo=[0]))
    assert sorted(again.candidates(who, 9)) == ["i0", "i1", "i2", "i3", "i5"]


def test_a_planted_pattern_is_found(name: str) -> None:
    """Those who take pears are few: only who looks at the person puts the pears first."""
    batch, had, wanted = two_tastes()
    model = taught(name, batch)
    found = model.candidates(UserState.clicked("pears0", had[::-1], int(batch.timestamps[-1])), 4)
    if name in POPULAR:
        assert all(item.startswith("apple") for item in found)
    else:
        assert set(found[:2]) == set(wanted)
