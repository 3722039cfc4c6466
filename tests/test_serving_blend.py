"""Recommendations by the online blend, over HTTP: the learner's real bank, the real pages, the person's history as it is now."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import numpy as np
import pytest

from feature_store.keys import SCOREBOARD
from schemas.errors import StoreUnavailable
from schemas.events import EventType
from serving.blended import INLINE_SECONDS, history_of
from serving.interests import interests_of
from serving.query import RecommendationQuery
from serving.services import Services
from stream_workers.models.online.columns import History
from tests.learned_world import COMEDY, HORROR, MINUTE, Learner, following, learned
from tests.test_serving_world import NOW, World, ids

GONE = StoreUnavailable("Redis: ConnectionError: refused")


async def ask(world: World, services: Services | None = None, **body: Any) -> dict[str, Any]:
    services = services or await following(world)
    async with world.client(services=services) as client:
        response: httpx.Response = await client.post("/v1/recommendations", json=body)
    assert response.status_code == 200, response.text
    return dict(response.json())


async def test_the_blend_answers_and_says_so() -> None:
    world, learner = learned()
    answer = await ask(world, user_id="ann", k=10)
    assert answer["models"] == {"nearline": "online-1@1", "batch": None, "blend": f"blend@{learner.bank.learnt}"}
    assert answer["degraded"] is None
    assert answer["freshness"]["age_ms"] == MINUTE
    assert len(set(ids(answer)) & set(HORROR)) >= 8, ids(answer)
    assert not {"h3", "h7"} & set(ids(answer))


async def test_it_is_the_learners_own_ranking() -> None:
    """No skew: the same history at the same moment gives the learner and the API the same list with the same scores."""
    world, learner = learned()
    answer = await ask(world, user_id="ann", k=20)
    types = np.full(2, EventType.CLICK, np.uint8)
    history = History("ann", ["h7", "h3"], types, np.array([NOW - MINUTE, NOW - 2 * MINUTE]))
    proposal = learner.bank.recommend(history, NOW - MINUTE, 640, ["h3", "h7"])
    assert ids(answer) == proposal.items[:20]
    weights = np.exp(proposal.scores.astype(np.float64))
    assert [item["score"] for item in answer["items"]] == pytest.approx((weights / weights.sum())[:20].tolist(), rel=1e-6)
    for row, item in enumerate(answer["items"]):
        places = dict(zip(proposal.names, proposal.places[:, row].tolist(), strict=True))
        assert item["sources"] == {name: pytest.approx(place**-0.5) for name, place in places.items() if place > 0}
        assert list(item["sources"].values()) == sorted(item["sources"].values(), reverse=True)


async def test_a_click_that_the_learner_has_not_seen_counts_at_once() -> None:
    world, _ = learned()
    services = await following(world)
    before = await ask(world, services, user_id="ann")
    world.learn(*[("ann", item, "click", 40 - at) for at, item in enumerate(("c1", "c2", "c3", "c4"))])
    after = await ask(world, services, user_id="ann")
    assert services.models.index is not None and services.models.index.commit == 1
    assert len(set(ids(before)) & set(COMEDY)) < len(set(ids(after)) & set(COMEDY))
    assert ids(after)[0] in COMEDY
    assert not {"c1", "c2", "c3", "c4"} & set(ids(after))


async def test_what_the_learner_commits_is_used_by_the_next_request() -> None:
    world, learner = learned()
    services = await following(world)
    learner.learn([f"fan{n}" for n in range(30)], ["premiere"] * 30, [NOW - 500 + n for n in range(30)])
    learner.commit(NOW)
    world.add_item("premiere", "The Premiere")
    await services.models.refresh()
    answer = await ask(world, services, user_id="nobody", k=20)
    assert "premiere" in ids(answer)
    assert answer["models"]["blend"] == f"blend@{learner.bank.learnt}"
    assert answer["degraded"] == "unknown_user"


async def test_one_round_trip() -> None:
    world, _ = learned()
    services = await following(world)
    for query, trips in (
        (RecommendationQuery(user_id="ann"), 1),
        (RecommendationQuery(user_id="nobody"), 1),
        (RecommendationQuery(recent_items=["h1"]), 0),
        (RecommendationQuery(user_id="ann", k=200), 2),  # more than there are: the other sources are asked too
    ):
        before = world.store.round_trips
        decision = await services.recommender.recommend(query)
        assert world.store.round_trips - before == decision.round_trips == trips, query


async def test_unavailable_items_are_not_shown_and_leave_no_hole() -> None:
    world, _ = learned()
    best = ids(await ask(world, user_id="ann", k=5))
    world.catalogue.apply(best[0].encode(), None)
    world.add_item(best[2], "sold out", available=False)
    answer = await ask(world, user_id="ann", k=5, explain=True)
    assert ids(answer)[:3] == [best[1], best[3], best[4]]
    assert len(ids(answer)) == 5
    assert answer["explanation"]["dropped"]["unavailable"] == 2


async def test_a_list_that_the_blend_cannot_fill_is_filled_behind_it_with_falling_scores() -> None:
    world, _ = learned()
    for n in range(30):
        world.add_item(f"unseen{n}", categories=["Western"])
    answer = await ask(world, user_id="ann", k=200)
    shown = ids(answer)
    assert len(shown) == len(set(shown)) == len(HORROR + COMEDY) - 2 + 30
    by_blend = [not item["sources"].keys() & {"covisitation", "affinity", "trending", "catalogue"} for item in answer["items"]]
    assert by_blend == sorted(by_blend, reverse=True)
    assert not any(item.startswith("unseen") for item in shown[: sum(by_blend)])
    scores = [item["score"] for item in answer["items"]]
    assert scores == sorted(scores, reverse=True) and scores[-1] > 0
    last = answer["items"][-1]
    assert last["reason"] == "from the catalogue"
    assert sum(last["sources"].values()) == pytest.approx(last["score"])


async def test_sessions_and_pages() -> None:
    world, _ = learned()
    session = await ask(world, recent_items=["c3", "c5"], k=10)
    assert session["degraded"] is None
    assert len(set(ids(session)) & set(COMEDY)) >= 8
    assert not {"c3", "c5"} & set(ids(session))
    page = await ask(world, context={"item_id": "c3"}, k=10)
    assert page["degraded"] == "anonymous"
    assert ids(page)[0] in COMEDY
    assert "similar to Film c3" in {item["reason"] for item in page["items"]}


async def test_only_candidates_are_shown() -> None:
    world, _ = learned()
    world.add_item("99", "Unheard of")
    answer = await ask(world, user_id="ann", candidates=["99", "c5", "h2", "h3"])
    assert ids(answer) == ["h2", "c5", "99"]
    assert answer["items"][2]["reason"] == "one of the items asked for"


async def test_reasons_name_what_was_watched_and_only_that() -> None:
    world, _ = learned()
    answer = await ask(world, user_id="ann", k=20)
    reasons = {item["reason"] for item in answer["items"]}
    named = {reason for reason in reasons if reason.startswith("because you watched")}
    assert named and named <= {"because you watched Film h3", "because you watched Film h7"}
    stranger = await ask(world, user_id="nobody", k=20)
    assert {item["reason"] for item in stranger["items"]} == {"popular now"}


async def test_an_untrained_blend_leaves_the_list_to_the_fixed_one() -> None:
    world = World()
    world.learn(*[(f"u{u}", item, "click", 1000 - at) for u in range(3) for at, item in enumerate("abc")], ("ann", "a", "click", 9))
    learner = Learner(world.store)
    learner.learn(["u1", "u1"], ["a", "b"], [NOW - 10, NOW - 9])
    learner.commit(NOW)
    answer = await ask(world, user_id="ann")
    assert answer["models"]["blend"] == "fixed-rrf-1"
    assert answer["degraded"] is None
    assert set(ids(answer)) == {"b", "c"}


async def test_without_a_store_the_blend_still_knows_what_is_taken() -> None:
    world, learner = learned()
    services = await following(world)
    world.store.fault = GONE
    answer = await ask(world, services, user_id="ann", recent_items=["h3"])
    assert answer["degraded"] == "store_unavailable"
    assert answer["models"]["blend"] == f"blend@{learner.bank.learnt}"
    assert len(set(ids(answer)) & set(HORROR)) >= 8


async def test_a_slow_blend_answers_from_a_thread_with_the_same_list() -> None:
    world, _ = learned()
    services = await following(world)
    inline = await services.recommender.recommend(RecommendationQuery(user_id="ann"))
    services.blend.seconds = 100 * INLINE_SECONDS
    in_thread = await services.recommender.recommend(RecommendationQuery(user_id="ann"))
    assert in_thread.chosen == inline.chosen
    services.blend.close()


async def test_a_bank_that_is_busy_is_waited_for_in_a_thread() -> None:
    world, _ = learned()
    services = await following(world)
    expected = await services.recommender.recommend(RecommendationQuery(user_id="ann"))
    model = services.models.current
    assert model is not None
    with model.lock:
        waiting = services.blend.propose(RecommendationQuery(user_id="ann"), expected.interests, expected.state)
        task = asyncio.ensure_future(waiting)
        await asyncio.sleep(0.05)
        assert not task.done()
    blended = await task
    assert list(blended.scores)[:10] == [item for item, _ in expected.chosen]
    services.blend.close()


def test_the_history_is_newest_first_and_says_what_was_done() -> None:
    query = RecommendationQuery(user_id="ann", recent_items=["b", "x"])
    history = history_of(query, interests_of(query, None), None, NOW)
    assert (history.user_id, history.items, history.types.tolist(), history.timestamps.tolist()) == (
        "ann", ["b", "x"], [EventType.CLICK] * 2, [NOW] * 2,
    )  # fmt: skip


# --- the scoreboard


async def test_the_scoreboard_is_handed_on() -> None:
    world, learner = learned()
    async with world.client() as client:
        board = (await client.get("/v1/scoreboard")).json()
        text = (await client.get("/metrics")).text
    assert board["degraded"] is None
    assert board["models"].keys() == set(learner.bank.names)
    assert board["at"] == "2026-01-01T08:59:59.000Z"
    assert (board["ranked"], board["events"], board["mode"]) == (learner.board.ranked, learner.bank.learnt, "A")
    rolling = board["models"]["blend"]["rolling"]["recall@10"]
    assert 0 < rolling <= 1
    assert board["drifts"] == [{"at": "2026-01-01T08:59:59.000Z", "event": 7, "before": 0.3, "after": 0.1}]
    assert f'freshet_scoreboard{{metric="recall@10",model="blend",window="rolling"}} {rolling}' in text
    assert 'freshet_scoreboard{metric="ndcg@10",model="isgd",window="cold_users"}' in text
    assert "freshet_drifts 1.0" in text


async def test_the_scoreboard_says_why_it_is_empty_or_old() -> None:
    world, _ = learned()
    async with World().client() as client:
        board = (await client.get("/v1/scoreboard")).json()
    assert (board["models"], board["degraded"]) == ({}, "nothing_ranked_yet")
    async with world.client() as client:
        whole = (await client.get("/v1/scoreboard")).json()
        world.store.blobs[SCOREBOARD] = b'{"at": 1}'
        damaged = (await client.get("/v1/scoreboard")).json()
        world.store.fault = GONE
        gone = (await client.get("/v1/scoreboard")).json()
    assert damaged == {**whole, "degraded": "damaged_scoreboard"}
    assert gone == {**whole, "degraded": "store_unavailable"}


async def test_metrics_tell_how_far_the_replica_is() -> None:
    world, learner = learned()
    services = await following(world)
    async with world.client(services=services) as client:
        text = (await client.get("/metrics")).text
    assert "freshet_replica_age_seconds 1.0" in text
    assert f"freshet_replica_events {float(learner.bank.learnt)}" in text
    assert "freshet_replica_faults 0.0" in text


async def test_the_scoreboard_is_documented() -> None:
    async with World().client() as client:
        document = (await client.get("/openapi.json")).json()
    answer = document["paths"]["/v1/scoreboard"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert answer == {"$ref": "#/components/schemas/Scoreboard"}
    assert {"models", "reachable", "drifts", "degraded"} <= document["components"]["schemas"]["Scoreboard"]["properties"].keys()


async def test_services_that_are_started_again_answer_slow_requests_too() -> None:
    world, _ = learned()
    services = await following(world)
    await ask(world, services, user_id="ann")  # starts and stops them
    services.blend.seconds = 2 * INLINE_SECONDS
    assert (await ask(world, services, user_id="ann"))["models"]["blend"].startswith("blend@")
