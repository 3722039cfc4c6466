"""`GET /v1/requests/{id}` and why: what a list was made of, what became of each item, and which past item carries one."""

from __future__ import annotations

import numpy as np
import pytest

from feature_store.packing import CorruptBlob
from schemas.settings import Settings
from serving.decision_log import BUFFERED
from serving.decision_record import unpack
from serving.query import RecommendationQuery
from serving.services import Services
from stream_workers.models.online.features import FEATURES
from tests.decision_world import ListedDecisions, asked
from tests.learned_world import HORROR
from tests.steering_world import DAY, price, priced, steered
from tests.test_serving_world import NOW, World, cinema, ids


@pytest.fixture
def decisions() -> ListedDecisions:
    return ListedDecisions()


@pytest.fixture
def world(decisions: ListedDecisions) -> World:
    world = priced()
    world.decisions = decisions
    return world


async def test_a_request_can_be_read_back(world: World) -> None:
    async with world.client(services=await steered(world)) as client:
        request = await asked(client, k=5)
        page = await request.page()
    assert {name: page[name] for name in ("items", "models", "freshness", "degraded", "user_id")} == {
        name: request.answer[name] for name in ("items", "models", "freshness", "degraded", "user_id")
    }
    assert page["query"] == {"user_id": "ann", "k": 5}
    assert [event["item_id"] for event in page["history"]] == ["h7", "h3"]
    assert page["kept_away"] == ["h3", "h7"]
    found = page["candidates"]
    assert 60 < len(found) <= 78
    assert not {"h3", "h7"} & {one["item_id"] for one in found}, "Ann had them"
    assert [one["place"] for one in found] == list(range(1, len(found) + 1))
    assert sum(one["score"] for one in found) == pytest.approx(1)
    assert [one["item_id"] for one in found if one["fate"] == "shown"] == ids(request.answer)
    for item, one in zip(request.answer["items"], found, strict=False):
        assert {name: place**-0.5 for name, place in one["sources"].items()} == pytest.approx(item["sources"])
    assert page["sources"] == {
        name: sum(name in one["sources"] for one in found) for name in {name for one in found for name in one["sources"]}
    }
    assert not any("features" in one for one in found), "nobody asked for them"


async def test_explain_keeps_the_features_that_the_blend_saw(world: World) -> None:
    async with world.client(services=await steered(world)) as client:
        page = await (await asked(client, explain=True)).page()
    table = [one["features"] for one in page["candidates"]]
    assert all(list(row) == list(FEATURES) for row in table)
    values = np.array([list(row.values()) for row in table])
    assert np.isfinite(values).all()
    assert values.std(axis=0).max() > 0.5, "candidates differ"
    places = [one["sources"].get("co_visitation", 0) for one in page["candidates"]]
    told = [row["place_co_visitation"] for row in table]
    first, none = places.index(1), places.index(0)
    assert told[first] == max(told) > told[none] == min(told)


async def test_why_an_item_is_there_and_what_carries_it(world: World) -> None:
    async with world.client(services=await steered(world)) as client:
        request = await asked(client, k=5)
        top = request.answer["items"][0]
        why = await request.why(top["item_id"])
    assert (why["shown"], why["verdict"], why["rank"], why["because"]) == (True, "shown", 1, top["reason"])
    assert (why["place"], why["score"]) == (1, pytest.approx(top["score"], rel=1e-3))
    assert why["models_now"] == "online-1@1"
    assert {removal["without"] for removal in why["removals"]} == {"h3", "h7"}
    assert [removal["title"] for removal in why["removals"] if removal["without"] == "h7"] == ["Film h7"]
    assert why["place_now"] <= 5


async def test_without_the_only_past_item_what_it_brought_is_gone(decisions: ListedDecisions) -> None:
    world = priced()
    world.decisions = decisions
    world.learn(("bob", "c5", "click", 30_000))
    async with world.client(services=await steered(world)) as client:
        request = await asked(client, user_id="bob", k=5)
        comedies = [item for item in ids(request.answer) if item.startswith("c")]
        whys = [await request.why(item) for item in comedies]
    assert len(comedies) >= 4
    assert any(removal["takes_it_away"] for why in whys for removal in why["removals"])
    for why in whys:
        (removal,) = why["removals"]
        assert removal["without"] == "c5"
        assert removal["takes_it_away"] == (removal["place"] is None or removal["place"] > 5)


async def test_why_not_by_every_rule(world: World) -> None:
    world.add_item("h9", "Film h9", categories=["Horror"], price=9, available=False)
    world.learn(("ann", "c1", "dislike", 1000))
    async with world.client(services=await steered(world)) as client:
        request = await asked(client, k=30, filter="price < 20 or price >= 39")
        last = request.answer["items"][-1]
        told = {item: await request.why(item) for item in ("h3", "c1", "h9", "h25", "nothing", "c30")}
        page = await request.page()
    assert {item: why["verdict"] for item, why in told.items()} == {
        "h3": "seen", "c1": "disliked", "h9": "unavailable", "h25": "filtered", "nothing": "unknown_item", "c30": "filtered",
    }  # fmt: skip
    assert not any(why["shown"] or why["removals"] for why in told.values())
    assert told["h25"]["because"] == "does not meet the filter: price < 20 or price >= 39"
    assert "2026-01-01T08:58:00" in told["h3"]["because"]
    assert all(price(item) < 20 or price(item) >= 39 for item in ids(request.answer))
    fates = {one["item_id"]: one["fate"] for one in page["candidates"]}
    assert (fates["h9"], fates["h25"], fates[last["item_id"]]) == ("unavailable", "price < 20 or price >= 39", "shown")


async def test_why_not_for_what_came_behind(world: World) -> None:
    async with world.client(services=await steered(world)) as client:
        request = await asked(client, k=5)
        page = await request.page()
        behind = page["candidates"][40]
        why = await request.why(behind["item_id"])
        some = await asked(client, k=5, candidates=HORROR[:9])
        outside = await some.why("h30")
    assert (why["verdict"], why["place"]) == ("ranked_behind", 41)
    assert why["because"].startswith("place 41 by score (")
    assert why["because"].endswith(f"the lowest of them with {request.answer['items'][-1]['score']:.3g}")
    assert (outside["verdict"], outside["because"]) == (
        "not_asked_for",
        "the request names 9 candidates, and this is none of them",
    )


async def test_constraints_and_surfaces_speak_too(world: World) -> None:
    surfaces = "surfaces:\n  home:\n    filter: price < 30\n    constraints:\n      - {name: cheap, filter: price < 10}\n"
    async with world.client(services=await steered(world, surfaces)) as client:
        request = await asked(client, k=5, surface="home", diversity=0.4)
        page, why, filtered = await request.page(), await request.why("h20"), await request.why("h35")
    assert (page["filters"], page["constraints"], page["relaxed"]) == (["price < 30"], {"cheap": "price < 10"}, [])
    assert page["surface"]["name"] == "home"
    assert page["query"]["diversity"] == 0.4
    assert (why["verdict"], why["because"]) == ("constraint", "does not meet cheap: price < 10 (by the catalogue as it is now)")
    assert filtered["verdict"] == "filtered"


async def test_what_may_be_shown_again_was_not_kept_away(world: World) -> None:
    world.learn(("ann", "h5", "click", 3 * DAY))
    surfaces = "surfaces:\n  home:\n    exclude: {seen: 1d}\n"
    async with world.client(services=await steered(world, surfaces)) as client:
        request = await asked(client, k=50, surface="home")
        page, why, other = await request.page(), await request.why("h5"), await request.why("h3")
    assert page["kept_away"] == ["h3", "h7"]
    assert why["verdict"] in {"shown", "ranked_behind"}
    assert other["verdict"] == "seen"


async def test_a_fixed_blend_is_told_as_well(decisions: ListedDecisions) -> None:
    world = cinema()
    world.decisions = decisions
    async with world.client() as client:
        request = await asked(client, k=3)
        page = await request.page()
        why = await request.why(ids(request.answer)[0])
    shown = {one["item_id"]: one for one in page["candidates"] if one["fate"] == "shown"}
    for item in request.answer["items"]:
        assert shown[item["item_id"]]["sources"] == pytest.approx(item["sources"])
    assert (why["verdict"], why["models_now"], why["removals"]) == ("shown", None, [])


async def test_what_is_not_kept_is_not_found(world: World, decisions: ListedDecisions) -> None:
    nobody = "01KDWCJ2QR0000000000000000"
    async with world.client(services=await steered(world)) as client:
        missing = await client.get(f"/v1/requests/{nobody}")
        wrong = await client.get("/v1/requests/..%2Fx")
        lower = await client.get(f"/v1/requests/{nobody.lower()}/why?item_id=1")
        unnamed = await client.get(f"/v1/requests/{nobody}/why")
        decisions.blobs[nobody] = b"garbage"
        broken = await client.get(f"/v1/requests/{nobody}")
    assert missing.status_code == broken.status_code == 404
    assert missing.json()["detail"].endswith("decisions are kept for 24 h at most, in 64 MB")
    assert wrong.status_code in {404, 422}
    assert (lower.status_code, unnamed.status_code) == (422, 422)
    world.decisions = None
    async with world.client(services=await steered(world)) as client:
        off = await client.get(f"/v1/requests/{nobody}")
    assert (off.status_code, off.json()["detail"].endswith("no decisions are kept")) == (404, True)


async def test_a_store_that_is_gone_costs_the_records_and_no_answer(world: World, decisions: ListedDecisions) -> None:
    services = await steered(world)
    async with world.client(services=services) as client:
        decisions.away = True
        lost = await asked(client)
        gone = await client.get(lost.path)
        decisions.away = False
        kept = await asked(client)
        assert (await client.get(lost.path)).status_code == 404
        assert (await kept.page())["request_id"] == kept.answer["request_id"]
    assert (gone.status_code, gone.headers["retry-after"]) == (503, "1")
    assert outcomes(services) == {"sent": 1, "failed": 1}


async def test_more_than_can_wait_are_given_up(world: World, decisions: ListedDecisions) -> None:
    services = await steered(world)
    async with world.client(services=services) as client:
        last = await asked(client)
        decision, answer = await services.recommender.recommend(RecommendationQuery(user_id="ann"), None), last.answer
        for _ in range(BUFFERED + 20):
            services.decisions.add(decision, answer, "ann", NOW)  # type: ignore[arg-type]
        await last.page()
    assert sum(decisions.batches) == BUFFERED
    assert outcomes(services) == {"sent": BUFFERED, "failed": 21}
    assert decisions.closed


def outcomes(services: Services) -> dict[str, float]:
    lines = [line for line in services.metrics.text().decode().splitlines() if line.startswith("freshet_decisions_total{")]
    return {line.split('"')[1]: float(line.rsplit(" ", 1)[1]) for line in lines}


async def test_an_anonymous_request_is_about_nobody_known(world: World, decisions: ListedDecisions) -> None:
    async with world.client(services=await steered(world)) as client:
        request = await asked(client, user_id=None, recent_items=["h4"])
        page = await request.page()
        why = await request.why("h4")
    assert page["user_id"] is None
    assert list(decisions.users.values()) == [f"anonymous:{request.answer['request_id']}"]
    assert (why["verdict"], why["because"].startswith("they had to do with it as the request itself says")) == ("seen", True)


async def test_forgetting_takes_what_is_still_waiting_too(world: World, decisions: ListedDecisions) -> None:
    services = await steered(world)
    async with world.client(services=services) as client:
        await asked(client)
        bob = await asked(client, user_id="bob")
        await services.decisions.forget("ann")
        assert (await bob.page())["user_id"] == "bob"
    assert list(decisions.users.values()) == ["bob"]


@pytest.mark.parametrize("blob", [b"", b"x", b"x\x9c\x03\x00\x00\x00\x00\x01"])
def test_garbage_is_no_record(blob: bytes) -> None:
    with pytest.raises(CorruptBlob):
        unpack(blob)


def test_the_log_has_room_and_time_of_the_settings() -> None:
    settings = Settings.from_environment({"FRESHET_DECISION_LOG_MB": "8", "FRESHET_DECISION_LOG_HOURS": "0.5"})
    assert (settings.decision_log_mb, settings.decision_log_hours) == (8, 0.5)
