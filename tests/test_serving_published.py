"""Published batch models in the API: they join the blend, are named in the answer, and are swapped while requests go on."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batch.registry.pointers import Note, promote
from batch.registry.publish import publish
from feature_store.batch_status import note_run
from feature_store.version_manifest import TrainedOn
from schemas.errors import InvalidSettings
from schemas.settings import Settings
from serving.query import RecommendationQuery
from serving.services import Services
from serving.surface_file import parse_surfaces
from stream_workers.models.deep.item_weights import ItemWeights
from stream_workers.models.online.columns import History
from tests.learned_world import COMEDY, HORROR, MINUTE, learned
from tests.published_versions import damage_of, facts
from tests.test_serving_world import NOW, SETTINGS, World, ids

ITEMS = (*HORROR, *COMEDY)
NOTE = Note(NOW, "test", "to see it serve")


def publish_pairs(root: Path, seed: int, model: str = "ease") -> str:
    """A model that finds those of the same kind alike, and promote it."""
    rng = np.random.default_rng(seed)
    kinds = np.array([item[0] == "h" for item in ITEMS])
    weights = (kinds[:, None] == kinds).astype(np.float32) + rng.random((len(ITEMS), len(ITEMS)), np.float32)
    scorer = ItemWeights(weights, np.arange(len(ITEMS)), len(ITEMS))
    told = TrainedOn(first_ms=NOW - 1000, last_ms=NOW, events=900, users=0, items=len(ITEMS))
    version = publish(root, model, scorer, ITEMS, (), facts(seed=seed, created_ms=NOW + seed * 1000, trained_on=told))
    promote(root, model, version, NOTE, force=True)
    return version


async def services_of(world: World, root: Path, sources: str = "ease") -> Services:
    services = world.services(Settings(**{**SETTINGS.model_dump(), "models": root, "batch_sources": sources}))
    await services.background.refresh()
    await services.models.refresh()
    return services


async def ask(world: World, services: Services, **body: Any) -> dict[str, Any]:
    async with world.client(services=services) as client:
        response = await client.post("/v1/recommendations", json={"user_id": "ann", "k": 20, **body})
    assert response.status_code == 200, response.text
    return dict(response.json())


async def test_a_published_model_joins_the_blend_and_is_named(tmp_path: Path) -> None:
    world, learner = learned()
    services = await services_of(world, tmp_path)
    assert (await ask(world, services))["models"]["batch"] is None
    version = publish_pairs(tmp_path, 1)
    assert services.blend.published.refresh()
    answer = await ask(world, services)
    assert answer["models"]["batch"] == f"ease@{version}"
    assert any("ease" in item["sources"] for item in answer["items"])
    history = History("ann", ["h7", "h3"], np.ones(2, np.uint8), np.array([NOW - MINUTE, NOW - 2 * MINUTE]))
    said = services.blend.published.current.of(history, NOW - MINUTE, learner.bank.items)
    assert ids(answer) == learner.bank.recommend(history, NOW - MINUTE, 640, ["h3", "h7"], said).items[:20]


async def test_a_swap_fails_no_request_and_mixes_no_versions(tmp_path: Path) -> None:
    """Requests go on while versions change; each answer names one version, and is that version's answer."""
    world, learner = learned()
    services = await services_of(world, tmp_path)
    publish_pairs(tmp_path, 9)
    services.blend.published.refresh()
    learner.bank.sources = services.blend.published.current  # what the blend has never met says nothing
    learner.two_tastes(NOW - 2 * MINUTE, users=20, seed=4)
    learner.commit(NOW - 500)
    await services.models.refresh()
    lists: dict[str, list[str]] = {}
    seen: list[tuple[str | None, list[str]]] = []

    async def requests() -> None:
        while True:
            decision = await services.recommender.recommend(RecommendationQuery(user_id="ann", k=20))
            assert decision.blended is not None
            seen.append((decision.blended.batch, [item for item, _ in decision.chosen]))
            await asyncio.sleep(0)

    task = asyncio.create_task(requests())
    for seed in range(1, 5):
        name = f"ease@{publish_pairs(tmp_path, seed)}"
        await asyncio.to_thread(services.blend.published.refresh)
        lists[name] = ids(await ask(world, services))
        await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert {name for name, _ in seen} >= set(lists)
    assert len({tuple(items) for items in lists.values()}) > 1, "versions that say the same prove nothing"
    assert all(items == lists[name] for name, items in seen if name in lists)


async def test_a_damaged_version_never_serves(tmp_path: Path) -> None:
    world, _ = learned()
    services = await services_of(world, tmp_path)
    first = publish_pairs(tmp_path, 1)
    services.blend.published.refresh()
    second = publish_pairs(tmp_path, 2)
    damage_of(tmp_path, "ease", second)
    assert not services.blend.published.refresh()
    assert (await ask(world, services))["models"]["batch"] == f"ease@{first}"
    assert services.blend.published.faults == 1


async def test_two_models_are_both_asked(tmp_path: Path) -> None:
    world, _ = learned()
    services = await services_of(world, tmp_path, "ease, ials")
    names = [f"{model}@{publish_pairs(tmp_path, seed, model)}" for seed, model in enumerate(("ease", "ials"), 1)]
    services.blend.published.refresh()
    answer = await ask(world, services)
    assert answer["models"]["batch"] == "+".join(names)
    assert {"ease", "ials"} <= {name for item in answer["items"] for name in item["sources"]}


async def test_a_surface_silences_a_published_model(tmp_path: Path) -> None:
    """It proposes nothing; what it says of others' candidates stays among the blend's features, so it is still named."""
    world, _ = learned()
    services = await services_of(world, tmp_path)
    version = publish_pairs(tmp_path, 1)
    services.blend.published.refresh()
    services.surfaces.current = parse_surfaces("surfaces: {default: {sources: {published: {ease: off}}}}")
    answer = await ask(world, services)
    assert answer["models"]["batch"] == f"ease@{version}"
    assert answer["items"] and not any("ease" in item["sources"] for item in answer["items"])


def test_more_than_two_sources_are_refused_at_start() -> None:
    with pytest.raises(InvalidSettings, match="FRESHET_BATCH_SOURCES='a,b,c'"):
        Settings.from_environment({"FRESHET_BATCH_SOURCES": "a,b,c"})


async def test_metrics_tell_how_the_batch_runs_went(tmp_path: Path) -> None:
    world, _ = learned()
    services = await services_of(world, tmp_path)

    async def gauges() -> dict[str, float]:
        async with world.client(services=services) as client:
            lines = (await client.get("/metrics")).text.splitlines()
        return {
            line.split()[0]: float(line.split()[1]) for line in lines if line.startswith(("freshet_batch", "freshet_published"))
        }

    assert np.isnan((await gauges())["freshet_batch_success_age_seconds"])
    note_run(tmp_path, NOW - 5000, None)
    note_run(tmp_path, NOW - 1000, "the disk is full")
    assert await gauges() == {
        "freshet_batch_success_age_seconds": 5.0,
        "freshet_batch_failures": 1.0,
        "freshet_batch_failed": 1.0,
        "freshet_published_faults": 0.0,
    }
    (tmp_path / "batch-run.json").write_text("{not json")
    assert (await gauges())["freshet_batch_failed"] == 0
