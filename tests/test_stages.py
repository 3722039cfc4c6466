"""The two stages: values in, values out."""

from __future__ import annotations

import dataclasses
import random
from collections import Counter, defaultdict
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_store.catalogue import Catalogue
from feature_store.forgotten_blob import unpack_forgotten
from feature_store.keys import forgotten_key, profile_key, user_key
from feature_store.user_blob import UserState, unpack_user
from schemas.events import Event, EventType
from schemas.horizons import HOUR_MS
from stream_workers.handlers.forgotten_users import ForgottenUsers
from stream_workers.handlers.seen_events import contains
from stream_workers.handlers.settings import ModelSettings
from stream_workers.handlers.signals import Signals, decode_signals
from stream_workers.handlers.user_batch import Profile, UserBatch
from stream_workers.handlers.user_stage import UserStage

SMALL = ModelSettings(partitions=1, history_length=6, neighbours=20)
START = 1_767_225_600_000
SPLITS = settings(deadline=None, max_examples=25)
CATALOGUE = Catalogue()
for n in range(12):
    CATALOGUE.apply(None, b'{"item_id": "%d", "categories": ["c%d", "all"]}' % (n, n % 3))

Row = tuple[Event, str, int, int]  # event, topic, offset, log time
State = dict[bytes, bytes]


def stream(count: int, seed: int = 1, users: int = 5, items: int = 12) -> list[Row]:
    """Events of all topics in log order: some late, some twice, some without an id."""
    rng, offsets, rows = random.Random(seed), Counter[str](), []
    for n in range(count):
        at = START + 60_000 * n - rng.choice([0, 0, 0, 5 * HOUR_MS])
        kind, identity = rng.randrange(8), rng.choice([None, f"e{n}", f"e{rng.randrange(n + 1)}"])
        topic = ("views", "clicks")[kind] if kind < 2 else "feedback"
        event = Event(f"u{rng.randrange(users)}", str(rng.randrange(items)), kind, at, identity)
        rows.append((event, topic, offsets[topic], START + 60_000 * n))
        offsets[topic] += 1
    return rows


class Users:
    """A user stage and its store; what it sent on."""

    def __init__(self, numbers: ModelSettings = SMALL, store: State | None = None) -> None:
        self.numbers, self.store = numbers, {} if store is None else store
        self.messages: list[Signals] = []
        self.duplicates = 0
        self.restart()

    def restart(self) -> None:
        stored = self.store.get(forgotten_key(0))
        self.stage = UserStage(0, self.numbers, CATALOGUE, ForgottenUsers(b"salt", unpack_forgotten(stored) if stored else {}))

    def apply(self, rows: list[Row], profiles: list[tuple[str, bytes | None, int]] = []) -> None:  # noqa: B006 - only read
        batch = UserBatch(profiles=[Profile(*profile) for profile in profiles])
        for event, topic, offset, appended in rows:
            batch.append(event, topic, offset, appended, None)
        missing = self.stage.missing(batch)
        self.store |= self.stage.load(missing, [self.store.get(user_key(0, user)) for user in missing])
        output = self.stage.apply(batch, START)
        self.store |= output.puts
        for key in output.deletes:
            self.store.pop(key, None)
        self.messages += [decode_signals(value) for wave in output.waves for _, value in wave]
        self.duplicates += output.duplicates
        self.stage.shrink()

    def state(self, user: str) -> UserState:
        return dataclasses.replace(unpack_user(self.store[user_key(0, user)]), effect_ms=0)

    def states(self) -> dict[bytes, UserState]:
        users = {key: unpack_user(blob) for key, blob in self.store.items() if key.startswith(b"u:")}
        return {key: dataclasses.replace(state, effect_ms=0) for key, state in users.items()}

    def signals(self) -> dict[tuple[Any, int], Counter[Any]]:
        """Source offset to what it says, however it was cut into messages."""
        found: dict[tuple[Any, int], Counter[Any]] = defaultdict(Counter)
        for m in self.messages:
            for e, offset in enumerate(m.offsets.tolist()):
                item = m.ids[m.items[e]] if m.items[e] >= 0 else None
                found[m.source, offset][m.timestamps[e], m.types[e], item] += 1
            for p, e in enumerate(m.pair_events.tolist()):
                found[m.source, int(m.offsets[e])][m.ids[m.pair_rows[p]], m.ids[m.pair_others[p]], m.pair_weights[p]] += 1
        return found


def cut(rows: list[Any], places: list[int]) -> list[list[Any]]:
    bounds = [0, *sorted({place % (len(rows) + 1) for place in places}), len(rows)]
    return [rows[a:b] for a, b in pairwise(bounds)]


CUTS = st.lists(st.integers(0, 200), max_size=8)


@SPLITS
@given(st.integers(0, 9), CUTS, st.booleans())
def test_batch_boundaries_and_restarts_change_nothing(seed: int, places: list[int], restart: bool) -> None:
    whole, parts = Users(), Users()
    rows = stream(120, seed)
    whole.apply(rows)
    for part in cut(rows, places):
        if restart:
            parts.restart()
        parts.apply(part)
    assert parts.states() == whole.states()
    assert parts.signals() == whole.signals()
    assert parts.duplicates == whole.duplicates


def test_a_tiny_cache_changes_nothing() -> None:
    roomy, tight = Users(), Users(SMALL._replace(cached_users=2))
    for part in cut(stream(300, users=30), list(range(0, 300, 7))):
        roomy.apply(part)
        tight.apply(part)
    assert tight.states() == roomy.states()
    assert tight.signals() == roomy.signals()


def test_a_tiny_cache_holds_users_that_have_only_a_profile() -> None:
    users = Users(SMALL._replace(cached_users=2))
    users.apply([], [(f"u{n}", b"{}", START) for n in range(9)])
    users.apply(stream(20))
    assert users.store[profile_key(0, "u8")] == b"{}"


@pytest.mark.parametrize("together", [False, True])
def test_an_undo_takes_the_entry_out_of_the_history_and_counts_nothing(together: bool) -> None:
    like, click = EventType.LIKE, EventType.CLICK
    rows: list[Row] = [
        (Event("u", "7", like, START, "a"), "feedback", 0, START),
        (Event("u", "8", click, START + 1, None), "clicks", 0, START + 1),
        (Event("u", "7", like, START + 2, "b", None, True), "feedback", 1, START + 2),
        (Event("u", "7", like, START + 2, "b", None, True), "feedback", 2, START + 2),
        (Event("u", "9", like, START + 3, None, None, True), "feedback", 3, START + 3),
    ]
    users = Users()
    for batch in [rows] if together else [[row] for row in rows]:
        users.apply(batch)
    state = users.state("u")
    assert [(entry.item_id, entry.type) for entry in state.history] == [("8", click)]
    assert (state.counts[like], state.counts[click], users.duplicates) == (1, 1, 1)
    assert state.newest == START + 1
    assert {(source[0], offset) for source, offset in users.signals()} == {("feedback", 0), ("clicks", 0)}
    users.apply([(Event("u", "7", like, START + 9, None), "feedback", 4, START + 9)])
    assert [entry.item_id for entry in users.state("u").history] == ["7", "8"]


@pytest.mark.parametrize("restart", [False, True])
def test_an_event_id_counts_once_in_a_batch_and_across_batches(restart: bool) -> None:
    users, event = Users(), Event("u", "7", 1, START, "same")
    for offset in range(3):
        users.apply([(event, "clicks", 2 * offset, START), (event, "views", offset, START + HOUR_MS)])
        if restart:
            users.restart()
    assert (users.state("u").counts[1], len(users.state("u").history), users.duplicates) == (1, 1, 5)
    assert len(users.messages) == 1


def test_equal_events_without_an_id_and_equal_ids_of_two_users_all_count() -> None:
    users = Users()
    users.apply([(Event("u", "7", 1, START, None), "clicks", n, START) for n in range(3)])
    users.apply([(Event(user, "7", 1, START, "e"), "clicks", 5, START) for user in ("v", "w")])
    assert [users.state(user).counts[1] for user in "uvw"] == [3, 1, 1]


def test_an_event_id_is_remembered_for_a_day_and_then_forgotten() -> None:
    users = Users()
    for n, hours in enumerate([0, 24, 0, 60, 61]):
        identity = "first" if hours in (0, 24, 61) else f"e{n}"
        users.apply([(Event("u", "7", 1, START, identity), "clicks", n, START + hours * HOUR_MS)])
    assert users.state("u").counts[1] == 3  # at 0, 60 and 61


def test_thousands_of_event_ids_in_one_hour_are_told_apart() -> None:
    users = Users()
    users.apply([(Event("u", "7", 1, START, f"e{n % 8_000}"), "clicks", n, START) for n in range(10_000)])
    assert (users.state("u").counts[1], users.duplicates) == (8_000, 2_000)


def test_a_hash_is_not_found_across_two_others() -> None:
    assert not contains(bytearray(b"abcdefghijkl"), b"defghi")
    assert contains(bytearray(b"xabcdefabcdef"[1:]), b"abcdef")
    assert contains(bytearray(b"aaaaabbbbbbb") + b"abbbbb", b"abbbbb")


# --- forgetting -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("places", [[], [2], [4], [1, 2, 3, 4]])
def test_a_forgotten_user_starts_anew_with_the_events_after(places: list[int]) -> None:
    users = Users()
    clicks = [(Event("u", str(n), 1, START, f"e{n}"), "clicks", n, START + n) for n in range(6)]
    users.apply([], [("u", b'{"user_id": "u"}', START)])
    for part in cut(clicks, places):
        forgets = [("u", None, START + 2)] if any(appended == START + 2 for *_, appended in part) else []
        users.apply(part, forgets)
        users.restart()
    assert {entry.item_id for entry in users.state("u").history} == {"3", "4", "5"}
    assert (users.state("u").counts[1], users.state("u").affinities["all"]) == (3, 3.0)
    assert profile_key(0, "u") not in users.store


def test_events_from_before_the_forgetting_stay_away_when_the_log_is_read_again() -> None:
    users = Users()
    users.apply([], [("u", None, START + 9)])
    users.restart()
    users.apply([(Event("u", str(n), 1, START - n, None), "clicks", n, START + 8 + n) for n in range(3)])
    assert [entry.item_id for entry in users.state("u").history] == ["2"]


def test_what_a_forgotten_user_did_counts_for_items_however_batches_are_cut() -> None:
    click, forget = (Event("u", "7", 1, START, None), "clicks", 0, START), ("u", None, START + 1)
    apart, together = Users(), Users()
    apart.apply([click])
    apart.apply([], [forget])
    together.apply([click], [forget])
    assert together.states() == apart.states()
    assert together.signals() == apart.signals()


def test_a_profile_published_after_the_forgetting_stays() -> None:
    users = Users()
    users.apply([], [("u", b"old", START), ("u", None, START + 1), ("u", b"new", START + 2)])
    assert users.store[profile_key(0, "u")] == b"new"


def test_a_damaged_user_blob_is_put_aside_and_the_user_starts_anew() -> None:
    users = Users(store={user_key(0, "u"): b"\x01damaged"})
    users.apply([(Event("u", "7", 1, START, None), "clicks", 0, START)])
    assert users.store[b"damaged:" + user_key(0, "u")] == b"\x01damaged"
    assert users.state("u").counts[1] == 1
