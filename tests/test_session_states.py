"""Session states in the user stage: one step per event is the whole sequence, and what is not simply next begins again."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batch.models.recurrent_network import GRU, MIN_GRU, CellKind
from feature_store.keys import session_key, user_key
from feature_store.session_blob import session_of
from schemas.events import TYPE_WEIGHTS, Event, EventType
from stream_workers.handlers.settings import ModelSettings
from stream_workers.models.deep.bank_sources import DEPTH
from stream_workers.models.deep.recurrent import gap_input
from stream_workers.models.deep.session_model import SessionModel
from tests.pipeline_world import NOW, World, running
from tests.session_world import ITEMS, ROWS, Sessions, click, encoded, model, stream
from tests.test_recurrent import network

CUTS = st.lists(st.integers(1, 119), max_size=6)


def apply_cut(sessions: Sessions, events: list[Event], cuts: list[int], restart: bool = False) -> None:
    bounds = [0, *sorted(set(cuts)), len(events)]
    for start, end in pairwise(bounds):
        if restart:
            sessions.restart()
        sessions.apply(*events[start:end])


@pytest.mark.parametrize("kind", [GRU, MIN_GRU])
@pytest.mark.parametrize("cuts", [[], [40, 41, 90], list(range(120))])
def test_events_through_the_user_stage_are_the_whole_sequence_in_keras(kind: CellKind, cuts: list[int]) -> None:
    keras = network(kind)
    scorer = keras.scorer(np.ones(len(ITEMS), np.bool_))
    sessions, events = Sessions(SessionModel("session_rnn@1", scorer, ROWS)), stream(120)
    apply_cut(sessions, events, cuts, restart=bool(cuts))
    compared = 0
    for user in {event.user_id for event in events}:
        told = [e for e in sessions.history(user)[::-1] if e.item_id in ROWS and TYPE_WEIGHTS[e.type] > 0]
        times = np.array([e.timestamp for e in told])
        inputs = {
            "items": np.array([[ROWS[e.item_id] for e in told]], np.int32),
            "gaps": gap_input(np.diff(times, prepend=times[:1]))[None],
        }
        found = sessions.session(user)
        np.testing.assert_allclose(found.state, np.asarray(keras.states(inputs))[0, -1], atol=1e-4)
        logits = np.asarray(keras(inputs))[0, -1]
        np.testing.assert_allclose(scorer.score_states(found.state[None])[0], logits, atol=1e-4, rtol=1e-4)
        assert found.steps == len(told)
        compared += found.steps
    assert compared > 40, "nothing was compared"


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 9), CUTS, st.booleans(), st.booleans())
def test_however_a_stream_is_cut_the_state_is_that_of_the_history(seed: int, cuts: list[int], restart: bool, late: bool) -> None:
    sessions, events = Sessions(model()), stream(120, seed, users=8, late=late)
    apply_cut(sessions, events, cuts, restart)
    for user in {event.user_id for event in events}:
        assert sessions.off(user) < 1e-5, user


def test_what_comes_next_is_one_step_and_nothing_is_encoded() -> None:
    sessions = Sessions(model())
    outputs = [sessions.apply(*(click(f"u{u}", ITEMS[(u + n) % 40], 1000 * n + u) for u in range(30))) for n in range(5)]
    assert [(output.stepped, output.encoded) for output in outputs] == [(30, 0)] * 5
    sessions.restart()
    assert sessions.apply(click("u0", "item3", 9000), click("u0", "item4", 9001)).stepped == 2
    assert sessions.session("u0").steps == 7
    assert sessions.off("u0") < 1e-5


def test_what_speaks_for_no_item_of_the_model_moves_nothing() -> None:
    sessions = Sessions(model())
    sessions.apply(click("u", "item1", 0))
    before = sessions.session("u")
    others = [click("u", "item2", 1000, EventType.DISLIKE), click("u", "item3", 2000, EventType.HIDE), click("u", "new", 3000)]
    assert sessions.apply(*others).stepped == 0
    after = sessions.session("u")
    np.testing.assert_array_equal(after.state, before.state)
    assert (after.steps, after.newest) == (1, before.newest)
    sessions.apply(click("u", "item4", 4000))
    assert sessions.off("u") < 1e-6, "the gap is that to the event before which counted"


@pytest.mark.parametrize(
    "odd",
    [
        [click("u", "item9", -5000)],
        [click("u", "item2", 2000, undo=True)],
        [click("u", "item1", 0, undo=True)],
        [click("u", "item9", 5000), click("u", "item8", 4000)],
        [click("u", "item9", 5000, EventType.LIKE), click("u", "item8", 5000, EventType.VIEW)],
    ],
    ids=["late", "undo of the newest", "undo of the oldest", "out of order in one batch", "another place at one moment"],
)
def test_what_is_not_next_begins_again_from_the_history(odd: list[Event]) -> None:
    sessions = Sessions(model())
    sessions.apply(click("u", "item1", 0), click("u", "item2", 2000), click("v", "item5", 0))
    output = sessions.apply(*odd, click("v", "item6", 9000))
    assert (output.stepped, output.encoded) == (1, 1)
    assert sessions.off("u") < 1e-6
    assert sessions.session("u").steps == len(sessions.history("u"))
    assert sessions.apply(click("u", "item7", 9000)).stepped == 1
    assert sessions.off("u") < 1e-5


def test_a_new_version_encodes_a_history_when_the_next_event_of_its_user_comes() -> None:
    sessions = Sessions(model(1))
    sessions.apply(*(click(user, ITEMS[n], 1000 * n) for user in "uv" for n in range(4)))
    sessions.using = model(2)
    output = sessions.apply(click("u", "item9", 9000))
    assert (output.stepped, output.encoded) == (0, 1)
    assert [sessions.session(user).model for user in "uv"] == ["session_rnn@2", "session_rnn@1"]
    assert sessions.off("u") < 1e-6
    sessions.restart()
    assert sessions.apply(click("u", "item3", 9500), click("v", "item3", 9500)).encoded == 1
    assert sessions.session("v").model == "session_rnn@2"
    assert max(map(sessions.off, "uv")) < 1e-5


@pytest.mark.parametrize("what", ["damaged", "gone", "of another moment"])
def test_a_stored_state_that_cannot_be_used_is_made_anew(what: str) -> None:
    sessions, key = Sessions(model()), session_key(0, "u")
    sessions.apply(click("u", "item1", 0), click("u", "item2", 1000))
    blob = sessions.store[key]
    if what == "damaged":
        sessions.store[key] = blob[:-9] + bytes((blob[-9] ^ 1,)) + blob[-8:]
    elif what == "gone":
        del sessions.store[key]
    else:
        sessions.using = None  # a worker that keeps no states goes on with the user
        sessions.apply(click("u", "item3", 2000))
        assert session_of(sessions.store[user_key(0, "u")], sessions.store[key]) is None
        sessions.using = model()
    sessions.restart()
    output = sessions.apply(click("u", "item4", 3000))
    assert (output.stepped, output.encoded) == (0, 1)
    assert sessions.off("u") < 1e-6


def test_somebody_forgotten_has_no_state_and_begins_anew() -> None:
    for using in (model(), None):
        sessions = Sessions(model())
        sessions.apply(click("u", "item1", 0), click("u", "item2", 1000))
        sessions.using = using
        sessions.restart()
        sessions.apply(forget="u")
        assert session_key(0, "u") not in sessions.store
    sessions.using = model()
    assert sessions.apply(click("u", "item5", 5000)).applied == 1
    assert sessions.session("u").steps == 1
    assert sessions.off("u") < 1e-6


def test_a_forgotten_user_with_events_in_the_same_batch_starts_with_these() -> None:
    sessions = Sessions(model())
    sessions.apply(click("u", "item1", 0))
    sessions.apply(click("u", "item5", 5000), forget="u")
    assert sessions.session("u").steps == 1
    assert sessions.off("u") < 1e-6


def test_a_tiny_cache_changes_nothing() -> None:
    roomy, tight = (Sessions(model(), ModelSettings(partitions=1, cached_users=size)) for size in (1000, 2))
    events = stream(200, users=20)
    for sessions in (roomy, tight):
        apply_cut(sessions, events, list(range(0, 200, 7)))
    for user in {event.user_id for event in events}:
        np.testing.assert_allclose(tight.session(user).state, roomy.session(user).state, atol=1e-5)
        assert tight.session(user).steps == roomy.session(user).steps


def test_a_flood_of_one_user_is_told_the_newest_of_the_history_only() -> None:
    sessions = Sessions(model())
    flood = [click("u", ITEMS[n % 40], 1000 * n) for n in range(3 * DEPTH)]
    assert sessions.apply(*flood).encoded == 1
    assert sessions.session("u").steps == DEPTH
    assert sessions.off("u", longest=DEPTH) < 1e-6


def test_without_a_model_nothing_is_stored() -> None:
    sessions = Sessions(None)
    output = sessions.apply(*stream(50))
    assert not [key for key in sessions.store if key.startswith(b"s:")]
    assert output.stepped == output.encoded == 0


def state_of(world: World, user: str = "u") -> tuple[int, float]:
    """Steps of the stored state, and how far it is from that of the history."""
    blob = world.store.blobs[user_key(0, user)]
    found = session_of(blob, world.store.blobs[session_key(0, user)])
    using = world.services.session_model()
    assert found is not None
    assert using is not None
    history = Sessions(None)
    history.store[user_key(0, user)] = blob
    return found.steps, float(np.abs(found.state - encoded(using.scorer, history.history(user))).max())


@pytest.mark.parametrize("fault", ["before", "after", "claim", "read", "no acknowledgement"])
async def test_no_event_moves_a_state_twice_whatever_fails(fault: str) -> None:
    async with running() as world:
        current = model()
        world.services.session_model = lambda: current
        for n in range(4):
            world.click(item=ITEMS[n])
        await world.settle()
        if fault == "no acknowledgement":
            world.sink.down = 1
        elif fault == "claim":
            world.store.faults += ["before", "claim"]
        else:
            world.store.faults.append(fault)
        for n in range(4, 14):
            world.click(item=ITEMS[n])
            world.click("v", item=ITEMS[n])
        await world.settle()
        for user, clicks in (("u", 14), ("v", 10)):
            steps, off = state_of(world, user)
            assert steps == world.clicks_of(user) == clicks
            assert off < 1e-5


async def test_a_repeated_event_moves_nothing_and_a_restart_goes_on_from_the_store() -> None:
    async with running() as world:
        current = model()
        world.services.session_model = lambda: current
        for n in (0, 1, 2, 0, 1, 2):
            event = {"event_id": f"e{n}", "user_id": "u", "item_id": f"item{n}", "timestamp": NOW + n}
            world.append("clicks", orjson.dumps(event))
        await world.settle()
        assert state_of(world)[0] == 3
        await world.pipeline.begin()
        world.append("clicks", orjson.dumps({"user_id": "u", "item_id": "item7", "timestamp": NOW + 9}))
        await world.settle()
        steps, off = state_of(world)
        assert steps == 4
        assert off < 1e-5
        assert (world.services.counters.session_steps, world.services.counters.session_encodings) == (4, 0)
