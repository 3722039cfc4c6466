"""A published ranker in the API: it orders the blend's best, is named and explained, follows its version, and harms nobody."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from batch.ranker_promotion import MODEL
from batch.registry.pointers import Note, rollback, withdraw
from schemas.settings import Settings
from serving.query import RecommendationQuery
from serving.services import Services
from stream_workers.models.deep.blend_ranker import BlendRanker, RankerVersion
from tests.decision_world import ListedDecisions, asked
from tests.published_versions import damage_of
from tests.ranked_world import QUIET, favouring, films, promoted, serving, shown
from tests.test_serving_world import NOW, SETTINGS, World, ids

NOTE = Note(NOW, "test", "fewer clicks")


@pytest.fixture
def world() -> World:
    world = films()[0]
    world.learn(("ann", "h3", "click", 120_000), ("ann", "h7", "click", 60_000))
    return world


async def answer_of(services: Services, k: int = 10, **query: Any) -> dict[str, Any]:
    _, answer = await shown(services, RecommendationQuery(user_id="ann", k=k, **query), "01KDWCJ2QR0000000000000000", NOW)
    return dict(answer)


async def test_without_a_ranker_the_blends_order_stays(world: World, tmp_path: Path) -> None:
    answer = await answer_of(await serving(world, tmp_path))
    assert "ranker" not in answer["models"]
    assert not any("blend" in item["sources"] for item in answer["items"])


async def test_a_ranker_orders_the_best_and_is_named(world: World, tmp_path: Path) -> None:
    before = await answer_of(await serving(world, tmp_path))
    name = promoted(tmp_path, favouring("log_count", -3.0))
    answer = await answer_of(await serving(world, tmp_path))
    assert answer["models"] == {**before["models"], "ranker": name}
    assert len(QUIET & set(ids(answer))) > len(QUIET & set(ids(before)))
    scores = [item["score"] for item in answer["items"]]
    assert scores == sorted(scores, reverse=True)
    assert 0 < sum(scores) < 1, "they are still probabilities"


async def test_sources_tell_the_place_before_and_after(world: World, tmp_path: Path) -> None:
    query = RecommendationQuery(user_id="ann", k=10)
    alone, _ = await shown(await serving(world, tmp_path), query, "r1", NOW)
    promoted(tmp_path, favouring("log_count", -3.0))
    ranked, answer = await shown(await serving(world, tmp_path), query, "r1", NOW)
    assert alone.blended is not None
    assert ranked.blended is not None
    before, after = list(alone.blended.scores), list(ranked.blended.scores)
    told = {item["item_id"]: item["sources"] for item in answer["items"] if item["item_id"] in before}
    assert len(told) > 5
    for item, sources in told.items():
        assert (round(sources["blend"] ** -2), round(sources[MODEL] ** -2)) == (before.index(item) + 1, after.index(item) + 1)
    assert all(next(iter(sources)) not in {"blend", MODEL} for sources in told.values()), "the reason goes by the sources"


async def test_only_so_many_are_ranked_anew(world: World, tmp_path: Path) -> None:
    before = ids(await answer_of(await serving(world, tmp_path)))
    promoted(tmp_path, favouring("log_share", -3.0))
    services = world.services(Settings(**{**SETTINGS.model_dump(), "models": tmp_path, "ranked_candidates": 3}))
    await services.models.refresh()
    services.rescorer.published.refresh()
    after = ids(await answer_of(services))
    assert set(after[:3]) != set(before[:3]) or after[:3] != before[:3]
    untouched = [item for item in after if item not in before[:3]]
    assert untouched == [item for item in before if item in untouched] + [item for item in untouched if item not in before]


async def test_other_features_are_refused_counted_and_said_once(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = ids(await answer_of(await serving(world, tmp_path)))
    name = promoted(tmp_path, favouring("log_count", -3.0, features="0123456789ab"))
    services = await serving(world, tmp_path)
    with caplog.at_level(logging.WARNING):
        answers = [await answer_of(services) for _ in range(3)]
    assert [ids(answer) for answer in answers] == [before] * 3
    assert all("ranker" not in answer["models"] for answer in answers)
    assert b'freshet_ranker_refused_total{reason="features"} 3.0' in services.metrics.text()
    (said,) = [record.message for record in caplog.records if name in record.message]
    assert "0123456789ab" in said


async def test_scores_that_are_not_finite_are_refused(world: World, tmp_path: Path) -> None:
    before = ids(await answer_of(await serving(world, tmp_path)))
    services = await serving(world, tmp_path)
    broken = RankerVersion("blend_ranker@broken", favouring("log_count", 3e38))
    services.rescorer.published = SimpleNamespace(current=broken, faults=0, refresh=lambda: False)
    with np.errstate(over="ignore", invalid="ignore"):
        assert ids(await answer_of(services)) == before
    assert b'freshet_ranker_refused_total{reason="scores"} 1.0' in services.metrics.text()


async def test_a_damaged_version_never_ranks(world: World, tmp_path: Path) -> None:
    first = promoted(tmp_path, favouring("log_count", -3.0))
    services = await serving(world, tmp_path)
    second = promoted(tmp_path, favouring("log_count", 3.0), 2)
    damage_of(tmp_path, MODEL, second.partition("@")[2])
    assert not services.rescorer.published.refresh()
    assert (await answer_of(services))["models"]["ranker"] == first
    assert services.rescorer.published.faults == 1


async def test_rollbacks_take_it_away_without_a_restart(world: World, tmp_path: Path) -> None:
    before = ids(await answer_of(await serving(world, tmp_path)))
    first = promoted(tmp_path, favouring("log_count", -3.0))
    second = promoted(tmp_path, favouring("log_count", 3.0), 2)
    services = await serving(world, tmp_path)
    ranked = [(await answer_of(services))["models"]["ranker"]]
    rollback(tmp_path, MODEL, NOTE)
    services.rescorer.published.refresh()
    ranked.append((await answer_of(services))["models"]["ranker"])
    assert ranked == [second, first]
    assert withdraw(tmp_path, MODEL, NOTE).serving is None
    services.rescorer.published.refresh()
    answer = await answer_of(services)
    assert ids(answer) == before
    assert "ranker" not in answer["models"]
    assert rollback(tmp_path, MODEL, NOTE).serving == first.partition("@")[2]


async def test_each_answer_is_one_version_s_while_versions_change(world: World, tmp_path: Path) -> None:
    services = await serving(world, tmp_path)
    seen: list[tuple[str | None, tuple[str, ...]]] = []

    async def requests() -> None:
        while True:
            answer = await answer_of(services)
            seen.append((answer["models"].get("ranker"), tuple(ids(answer))))
            await asyncio.sleep(0)

    task = asyncio.create_task(requests())
    await asyncio.sleep(0.02)
    lists = {None: tuple(ids(await answer_of(services)))}
    for number, weight in enumerate((-3.0, 3.0, -1.0), 1):
        name = promoted(tmp_path, favouring("log_count", weight), number)
        await asyncio.to_thread(services.rescorer.published.refresh)
        lists[name] = tuple(ids(await answer_of(services)))
        await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(set(lists.values())) == 4, "versions that say the same prove nothing"
    assert {name for name, _ in seen} == set(lists)
    assert all(items == lists[name] for name, items in seen)


async def test_the_decision_log_tells_both_places(world: World, tmp_path: Path) -> None:
    world.decisions = ListedDecisions()
    name = promoted(tmp_path, favouring("log_count", -3.0))
    async with world.client(services=await serving(world, tmp_path)) as client:
        request = await asked(client, k=5)
        page = await request.page()
        why = await request.why(ids(request.answer)[0])
    found = page["candidates"]
    assert page["models"]["ranker"] == name
    assert [one["item_id"] for one in found if one["fate"] == "shown"] == ids(request.answer)
    assert [one["score"] for one in found[:5]] == pytest.approx([item["score"] for item in request.answer["items"]], rel=1e-3)
    assert sorted(one["place_before"] for one in found) == [one["place"] for one in found] == list(range(1, len(found) + 1))
    assert [one["place_before"] for one in found] != [one["place"] for one in found]
    assert (why["place"], why["place_before"]) == (1, found[0]["place_before"])
    assert not any("features" in one for one in found), "they are kept where somebody asks for them, not because of the ranker"


async def test_models_page_says_that_it_ranks_here(world: World, tmp_path: Path) -> None:
    promoted(tmp_path, favouring("log_count", -3.0))
    async with world.client(services=await serving(world, tmp_path)) as client:
        (version,) = (await client.get("/v1/models")).json()["versions"]
    assert (version["model"], version["status"], version["ranks_here"]) == (MODEL, "serving", True)


async def test_another_kind_of_model_is_no_ranker(world: World, tmp_path: Path) -> None:
    services = await serving(world, tmp_path)

    class Other(BlendRanker):
        kind = "other"

    made = favouring("log_count", 1.0)
    promoted(tmp_path, Other(made._network, made.features))
    assert not services.rescorer.published.refresh()
    assert services.rescorer.published.faults == 1
    assert "ranker" not in (await answer_of(services))["models"]
