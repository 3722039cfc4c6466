"""`GET /v1/models`: the online models of this process, and every published version with what became of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from schemas.settings import Settings
from serving.services import Services
from tests.learned_world import following, learned
from tests.published_versions import damage_of
from tests.test_serving_published import publish_pairs, services_of
from tests.test_serving_world import NOW, SETTINGS, World, cinema


async def models_of(world: World, services: Services) -> dict[str, Any]:
    async with world.client(services=services) as client:
        response = await client.get("/v1/models")
    assert response.status_code == 200, response.text
    return dict(response.json())


async def test_what_serves_what_did_and_what_is_broken(tmp_path: Path) -> None:
    world, learner = learned()
    services = await services_of(world, tmp_path)
    names = [publish_pairs(tmp_path, seed) for seed in range(1, 5)]
    damaged = publish_pairs(tmp_path, 9, "item2vec")
    (tmp_path / "item2vec" / damaged / "manifest.json").write_text("{")
    services.blend.published.refresh()  # type: ignore[attr-defined]
    page = await models_of(world, services)
    by_name = {(one["model"], one["version"]): one for one in page["versions"]}
    assert [by_name["ease", name]["status"] for name in names] == ["archived", "archived", "previous", "serving"]
    assert [by_name["ease", name]["ranks_here"] for name in names] == [False, False, False, True]
    serving = by_name["ease", names[-1]]
    assert serving["created_at"] == "2026-01-01T09:00:04.000Z"
    assert serving["trained_until"] == "2026-01-01T09:00:00.000Z"
    assert serving["bytes"] > 80 * 80 * 4
    broken = by_name["item2vec", damaged]
    assert (broken["status"], broken["ranks_here"], "manifest" in broken["problem"]) == ("broken", False, True)
    assert page["online"] == {
        "nearline": "online-1@1", "blend": f"blend@{learner.bank.learnt}", "trained": True, "events": learner.bank.learnt,
        "committed_at": "2026-01-01T08:59:59.000Z",
    }  # fmt: skip


async def test_a_version_that_cannot_be_used_here_is_counted(tmp_path: Path) -> None:
    world, _ = learned()
    services = await services_of(world, tmp_path)
    damage_of(tmp_path, "ease", publish_pairs(tmp_path, 1))
    services.blend.published.refresh()  # type: ignore[attr-defined]
    page = await models_of(world, services)
    assert page["faults"] == 1
    assert [(one["status"], one["ranks_here"]) for one in page["versions"]] == [("serving", False)]


async def test_without_models_there_are_none(tmp_path: Path) -> None:
    world = cinema()
    assert await models_of(world, world.services()) == {"online": None, "versions": [], "faults": 0}
    nowhere = Settings(**{**SETTINGS.model_dump(), "models": tmp_path / "none"})
    assert (await models_of(world, world.services(nowhere)))["versions"] == []
    trained, _ = learned()
    online = (await models_of(trained, await following(trained)))["online"]
    assert online["committed_at"] < f"2026-01-01T09:00:00.{NOW % 1000:03}Z"
