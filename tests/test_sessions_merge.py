"""Visitors known by their session alone, and what goes with them when they log in: the pure merge, and requests over HTTP."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_store.session_blob import SessionState
from feature_store.user_blob import HistoryEntry, UserState
from schemas.errors import StoreUnavailable
from schemas.events import TYPE_CODES
from serving.query import RecommendationQuery
from serving.sessions import AFFINITY_HALF_LIFE_MS, UNKNOWN, Known, merged, together
from stream_workers.handlers.settings import ModelSettings
from tests.learned_world import COMEDY, MINUTE, following, learned
from tests.test_serving_world import NOW, World, cinema, ids, recommend, recommend_from

CLICK, HIDE = TYPE_CODES["click"], TYPE_CODES["hide"]
HALF = int(AFFINITY_HALF_LIFE_MS)


def state(*events: tuple[str, int, int], **affinities: float) -> UserState:
    """What the worker keeps after these events (item, type, time)."""
    counts = [0] * 8
    for _, kind, _ in events:
        counts[kind] += 1
    history = [HistoryEntry(*event) for event in sorted(events, key=lambda event: (event[2], event[1], event[0]), reverse=True)]
    return UserState(counts, history, max((at for _, _, at in events), default=0), affinities=affinities)


# --- the merge


def test_the_affinities_fade_here_as_they_do_in_the_worker() -> None:
    assert ModelSettings(partitions=1).affinity_half_life_ms == AFFINITY_HALF_LIFE_MS


def test_two_histories_are_one_newest_first() -> None:
    both = merged(state(("a", CLICK, 10), ("b", CLICK, 30)), state(("c", CLICK, 20), ("d", CLICK, 40)))
    assert [entry.item_id for entry in both.history] == ["d", "b", "c", "a"]
    assert both.newest == 40
    assert both.counts[CLICK] == 4


def test_an_event_that_was_sent_under_both_ids_counts_once() -> None:
    user = state(("a", CLICK, 10), ("b", CLICK, 20), Horror=2.0)
    both = merged(user, state(("b", CLICK, 20), ("c", CLICK, 20), Horror=1.0, Comedy=1.0))
    assert [entry.item_id for entry in both.history] == ["c", "b", "a"]
    assert both.counts[CLICK] == 3
    assert both.affinities == {"Horror": 2.5, "Comedy": 0.5}, "half of the session's weight is the user's already"


def test_affinities_are_brought_to_the_newer_moment() -> None:
    both = merged(state(("a", CLICK, 1000), Horror=2.0), state(("b", CLICK, 1000 + HALF), Comedy=1.0))
    assert both.affinities == {"Horror": 1.0, "Comedy": 1.0}


def test_freshness_is_that_of_the_newer_event() -> None:
    user, session = state(("a", CLICK, 10)), state(("b", CLICK, 20))
    user.effect_ms, session.effect_ms = 7, 9
    assert (merged(user, session).effect_ms, merged(session, user).effect_ms) == (9, 9)


EVENTS = st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 7), st.integers(1, 50)), unique=True, max_size=12)


@given(EVENTS, EVENTS)
def test_nothing_is_lost_and_nothing_is_twice(mine: list[Any], theirs: list[Any]) -> None:
    both = merged(state(*mine), state(*theirs))
    assert len(both.history) == len(set(both.history))
    assert set(both.history) == {HistoryEntry(*event) for event in (*mine, *theirs)}
    assert both.history == state(*both.history).history, "as a worker would order them"
    assert both.counts == state(*both.history).counts
    assert both.newest == max((entry.timestamp for entry in both.history), default=0)


def test_a_session_without_events_changes_nothing() -> None:
    rnn = SessionState("rnn@1", b"seal", 10, CLICK, 1, 1, np.zeros(2, np.float32))
    ann = Known(state(("a", CLICK, 10)), rnn)
    assert together([ann, UNKNOWN]) is ann
    assert together([ann, Known(UserState())]) is ann
    assert together([UNKNOWN, ann]) is ann
    assert together([UNKNOWN, UNKNOWN]) == together([]) == UNKNOWN


def test_the_session_models_state_stands_for_one_history_alone() -> None:
    rnn = SessionState("rnn@1", b"seal", 10, CLICK, 1, 1, np.zeros(2, np.float32))
    assert together([Known(state(("a", CLICK, 10)), rnn), Known(state(("b", CLICK, 20)), rnn)]).session is None


# --- requests


def visited(*events: tuple[str, str, str, int]) -> World:
    """The cinema, and somebody in session s1 who is not logged in."""
    world = cinema()
    world.learn(*(events or [("session:s1", "5", "click", 30_000)]))
    return world


async def test_a_session_serves_somebody_who_is_not_logged_in() -> None:
    answer = await recommend_from(visited(), session_id="s1", k=3)
    assert set(ids(answer)) == {"6", "7", "8"}
    assert answer["user_id"] is None
    assert answer["degraded"] is None
    assert answer["items"][0]["reason"] == "because you watched Airplane!"
    assert answer["freshness"]["age_ms"] == 30_000


async def test_a_session_without_events_is_an_anonymous_visitor() -> None:
    world = visited()
    known, unknown = await recommend_from(world, k=3), await recommend_from(world, session_id="s2", k=3)
    assert unknown["items"] == known["items"]
    assert unknown["degraded"] == "anonymous"


async def test_what_the_session_did_goes_with_the_user_who_logs_in() -> None:
    world = visited()
    answer = await recommend(world, session_id="s1", k=200, explain=True)
    assert answer["user_id"] == "ann"
    assert answer["explanation"]["seeds"] == ["5", "1"], "newest first"
    assert not {"1", "5"} & set(ids(answer))
    assert sorted(answer["explanation"]["categories"]) == ["Comedy", "Horror"]
    assert answer["freshness"]["age_ms"] == 30_000
    assert (await recommend_from(world, user_id="ann", session_id="s1", k=200))["items"] == answer["items"]


async def test_a_user_who_is_new_is_served_by_the_session() -> None:
    answer = await recommend(visited(), "carl", session_id="s1", k=3)
    assert set(ids(answer)) == {"6", "7", "8"}
    assert answer["degraded"] is None


@pytest.mark.parametrize("session", ["s2", "another", "ann", "x" * 256])
async def test_a_session_without_events_does_not_change_a_users_list(session: str) -> None:
    world = visited()
    with_session, without = await recommend(world, session_id=session), await recommend(world)
    assert with_session["items"] == without["items"]
    assert with_session["freshness"] == without["freshness"]


async def test_what_was_hidden_in_the_session_stays_hidden() -> None:
    world = visited(("session:s1", "2", "hide", 30_000))
    assert "2" not in ids(await recommend(world, session_id="s1", k=200))
    assert "2" in ids(await recommend(world, k=200))


async def test_an_event_of_both_ids_is_one_seed_and_one_event() -> None:
    world = visited(("session:s1", "1", "view", 60_000))
    with_session, without = await recommend(world, session_id="s1", explain=True), await recommend(world, explain=True)
    assert with_session["items"] == without["items"]
    assert with_session["explanation"] == without["explanation"]


async def test_user_and_session_cost_one_round_trip() -> None:
    world, _ = learned()
    world.learn(("session:s1", "c3", "click", 30_000))
    services = await following(world)
    for query, trips in (
        (RecommendationQuery(user_id="ann", session_id="s1"), 1),
        (RecommendationQuery(session_id="s1"), 1),
        (RecommendationQuery(session_id="nobody's"), 1),
        (RecommendationQuery(user_id="session:s1", session_id="s1"), 1),
    ):
        before = world.store.round_trips
        decision = await services.recommender.recommend(query)
        assert world.store.round_trips - before == decision.round_trips == trips, query


async def test_the_blend_ranks_what_a_session_did() -> None:
    world, learner = learned()
    for at, item in enumerate(COMEDY[:4]):
        world.learn(("session:s1", item, "click", MINUTE - at))
    services = await following(world)
    async with world.client(services=services) as client:
        answer = (await client.post("/v1/recommendations", json={"session_id": "s1"})).json()
        both = (await client.get("/v1/users/ann/recommendations", params={"session_id": "s1", "k": 70})).json()
    assert answer["models"]["blend"] == f"blend@{learner.bank.learnt}"
    assert len(set(ids(answer)) & set(COMEDY)) >= 8
    assert not {*COMEDY[:4], "h3", "h7"} & set(ids(both))


async def test_the_models_remember_a_session_by_its_id() -> None:
    world, learner = learned()
    learner.learn(["session:s1"] * 3, COMEDY[:3], [NOW - 500 + n for n in range(3)])
    learner.commit(NOW)
    services = await following(world)
    decision = await services.recommender.recommend(RecommendationQuery(session_id="s1"))
    assert decision.blended is not None
    assert decision.blended.remembered
    assert not set(COMEDY[:3]) & {item for item, _ in decision.chosen}, "the models' own log knows what the session had"


async def test_without_a_store_a_session_is_answered_too() -> None:
    world = visited()
    world.store.fault = StoreUnavailable("Redis: ConnectionError: refused")
    answer = await recommend_from(world, session_id="s1", user_id="ann")
    assert answer["degraded"] == "store_unavailable"
    assert len(ids(answer)) > 0


async def test_a_damaged_session_is_as_if_there_were_none() -> None:
    world = visited()
    without = await recommend(world)
    for key in [key for key in world.store.blobs if key.endswith(b"session:s1")]:
        world.store.blobs[key] = b"not a state"
    assert (await recommend(world, session_id="s1"))["items"] == without["items"]
