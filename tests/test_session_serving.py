"""The API scores from the stored session state where it fits, and from the history where it does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batch.registry.pointers import Note, promote
from batch.registry.publish import publish
from feature_store.keys import session_key, user_key
from feature_store.session_blob import SessionColumns, SessionState, pack_sessions, session_of
from feature_store.user_blob import unpack_user
from feature_store.version_manifest import TrainedOn
from schemas.ids import partition_of
from schemas.settings import Settings
from serving.query import RecommendationQuery
from serving.services import Services
from stream_workers.models.deep.recurrent import Recurrent
from stream_workers.models.deep.scorer import F32
from stream_workers.models.online.columns import History
from tests.learned_world import COMEDY, HORROR, MINUTE, Learner, learned
from tests.published_versions import facts
from tests.session_world import recurrent
from tests.test_serving_world import NOW, PARTITIONS, SETTINGS, World

ITEMS = (*HORROR, *COMEDY)
NOTE = Note(NOW, "test", "to see it serve")
PLACE = partition_of("ann", PARTITIONS)


def publish_recurrent(root: Path, seed: int) -> str:
    """A random network that serves; returns `name@version`."""
    told = TrainedOn(first_ms=NOW - 1000, last_ms=NOW, events=900, users=0, items=len(ITEMS))
    made = facts(seed=seed, created_ms=NOW + seed * 1000, trained_on=told)
    version = publish(root, "session_rnn", recurrent(seed, items=len(ITEMS)), ITEMS, (), made)
    promote(root, "session_rnn", version, NOTE, force=True)
    return f"session_rnn@{version}"


async def serving(root: Path) -> tuple[World, Learner, Services, str]:
    """A blend that has learnt with a recurrent source, and that source's name."""
    world, learner = learned()
    name = publish_recurrent(root, 1)
    services = world.services(Settings(**{**SETTINGS.model_dump(), "models": root, "batch_sources": "session_rnn"}))
    services.blend.published.refresh()  # type: ignore[attr-defined] - it is a VersionFollower
    learner.bank.sources = services.blend.published.current
    learner.two_tastes(NOW - 2 * MINUTE, users=20, seed=4)
    learner.commit(NOW - 500)
    await services.background.refresh()
    await services.models.refresh()
    return world, learner, services, name


def keep(world: World, name: str, state: F32, seal_of: bytes | None = None) -> SessionState:
    """Store a state of Ann, for her blob unless another is given."""
    columns = SessionColumns(np.array([NOW]), np.zeros(1, np.uint8), np.zeros(1, np.uint64), np.array([2]), state[None])
    user_blob = world.store.blobs[user_key(PLACE, "ann")]
    blob = pack_sessions(name, columns, [seal_of or user_blob])[0]
    world.store.blobs[session_key(PLACE, "ann")] = blob
    found = session_of(seal_of or user_blob, blob)
    assert found is not None
    return found


async def scores(world: World, services: Services, **body: Any) -> dict[str, float]:
    async with world.client(services=services) as client:
        response = await client.post("/v1/recommendations", json={"user_id": "ann", "k": 20, **body})
    assert response.status_code == 200, response.text
    assert response.json()["models"]["batch"]
    return {item["item_id"]: item["score"] for item in response.json()["items"]}


def planted() -> F32:
    return np.random.default_rng(9).normal(0, 3, 20).astype(np.float32)


async def test_an_answer_is_made_of_the_stored_state(tmp_path: Path) -> None:
    """A state that no history makes changes the answer as the learner's own code says that it must."""
    world, learner, services, name = await serving(tmp_path)
    from_history = await scores(world, services)
    session = keep(world, name, planted())
    decision = await services.recommender.recommend(RecommendationQuery(user_id="ann", k=20))
    assert decision.round_trips == 1, "read together with the user"
    found = await scores(world, services)
    assert found != from_history
    history = unpack_user(world.store.blobs[user_key(PLACE, "ann")]).history
    asked = History("ann", [e.item_id for e in history], np.array([e.type for e in history], np.uint8),
                    np.array([e.timestamp for e in history]))  # fmt: skip
    said = services.blend.published.current.of(asked, NOW - MINUTE, learner.bank.items, session)
    model = services.blend.published.current.models[0]
    assert isinstance(model.scorer, Recurrent)
    wanted = model.scorer.score_states(session.state[None])[0]
    for item in ITEMS:
        if (code := learner.bank.items.code(item)) >= 0:
            assert said[0, code] == pytest.approx(wanted[ITEMS.index(item)], rel=1e-6)
    assert list(found) == learner.bank.recommend(asked, NOW - MINUTE, 640, ["h3", "h7"], said).items[:20]


async def test_the_state_after_the_history_says_what_the_history_says(tmp_path: Path) -> None:
    world, _, services, name = await serving(tmp_path)
    from_history = await scores(world, services)
    model = services.blend.published.current.models[0]
    assert isinstance(model.scorer, Recurrent)
    query = model.query("ann", ["h3", "h7"], [NOW - 2 * MINUTE, NOW - MINUTE], NOW)
    keep(world, name, model.scorer.encode(query))
    found = await scores(world, services)
    assert found == pytest.approx(from_history, abs=1e-5)


@pytest.mark.parametrize("why", ["another version", "another moment", "damaged", "the request knows more"])
async def test_a_state_that_does_not_fit_is_left_alone(tmp_path: Path, why: str) -> None:
    world, _, services, name = await serving(tmp_path)
    body = {"recent_items": ["c1"]} if why == "the request knows more" else {}
    from_history = await scores(world, services, **body)
    keep(world, "session_rnn@old" if why == "another version" else name, planted(), b"wrong" if why == "another moment" else None)
    if why == "damaged":
        world.store.blobs[session_key(PLACE, "ann")] = world.store.blobs[session_key(PLACE, "ann")][:-1] + b"?"
    assert await scores(world, services, **body) == from_history


async def test_after_a_swap_the_old_state_is_not_used_with_the_new_version(tmp_path: Path) -> None:
    world, _, services, name = await serving(tmp_path)
    keep(world, name, planted())
    await scores(world, services)
    publish_recurrent(tmp_path, 2)
    assert services.blend.published.refresh()  # type: ignore[attr-defined]
    with_old_state = await scores(world, services)
    del world.store.blobs[session_key(PLACE, "ann")]
    assert await scores(world, services) == with_old_state


async def test_what_the_model_knows_counts_although_the_learner_has_never_seen_it(tmp_path: Path) -> None:
    """The history is told to a model by items, not by the bank's codes, of which a new item has none."""
    _, learner, services, _ = await serving(tmp_path)
    assert learner.bank.items.code("c39") >= 0
    sources, table = services.blend.published.current, type(learner.bank.items)()
    table.codes(["h1", "h2"])
    times = np.array([NOW, NOW - 1])
    both, one = (
        sources.of(History("x", items, np.ones(len(items), np.uint8), times[: len(items)]), NOW, table)
        for items in (["h1", "c39"], ["h1"])
    )
    stranger = sources.of(History("x", ["h1", "nobody knows it"], np.ones(2, np.uint8), times), NOW, table)
    assert np.abs(both - one).max() > 1e-3
    np.testing.assert_allclose(stranger, one, atol=1e-6)


async def test_the_page_of_a_user_tells_the_version_and_the_steps(tmp_path: Path) -> None:
    world, _, services, name = await serving(tmp_path)

    async def shown() -> Any:
        async with world.client(services=services) as client:
            return (await client.get("/v1/users/ann")).json()["features"]["session"]

    assert await shown() is None
    keep(world, name, planted())
    assert await shown() == {"model": name, "steps": 2}
    keep(world, name, planted(), b"wrong")
    assert await shown() is None
