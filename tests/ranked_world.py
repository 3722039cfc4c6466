"""People who are shown the blend's lists by the API's own code, and click; all of it goes through a real lake."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from batch.lake.syncing import sync
from batch.ranker_promotion import MODEL
from batch.registry.pointers import Note, promote
from batch.registry.publish import publish_ranker
from feature_store.version_manifest import TrainedOn
from schemas.settings import Settings
from schemas.topics import CLICKS, IMPRESSIONS
from serving.answers import Recommendations
from serving.blend_features import LOG_SHARE, digest, feature_names
from serving.decision import Decision
from serving.plan import plan_of
from serving.presentation import impression, recommendations
from serving.query import RecommendationQuery
from serving.services import Services
from stream_workers.models.deep.blend_ranker import BlendRanker
from stream_workers.models.deep.ranker import SlateRanker
from stream_workers.models.online.sources import SOURCES
from tests.lake_world import ListLog, lake_at
from tests.learned_world import COMEDY, HORROR, MINUTE, Learner
from tests.published_versions import facts
from tests.test_serving_world import NOW, SETTINGS, World

Clicks = Callable[[str, int, np.random.Generator], bool]
"""Whether a person clicks an item at a place."""
PLACES, SECONDS = 10, 60_000
ORDER = [item for pair in zip(HORROR, COMEDY, strict=True) for item in pair]
QUIET = frozenset(ORDER[20:])
"""The items that are taken less often than others."""


def films() -> tuple[World, Learner]:
    """Eighty films of two kinds, the first of them taken far more often, learnt and committed."""
    world, rng = World(), np.random.default_rng(11)
    for item in ORDER:
        world.add_item(item, f"Film {item}", categories=["Horror" if item[0] == "h" else "Comedy"])
    learner = Learner(world.store)
    weights = {kind: 1 / (1.0 + np.arange(40)) ** 0.7 for kind in (0, 1)}
    events = []
    for user in range(60):
        kind = user % 2
        taken = rng.choice(HORROR if kind else COMEDY, 20, replace=False, p=weights[kind] / weights[kind].sum())
        events += [(f"fan{user}", item, place) for place, item in enumerate(taken.tolist())]
    events.sort(key=lambda event: event[2])
    times = [NOW - MINUTE * (2 + len(events) - n) for n in range(len(events))]
    learner.learn([user for user, _, _ in events], [item for _, item, _ in events], times)
    learner.commit(NOW - 1000)
    return world, learner


async def serving(world: World, root: Path, sample: float = 1.0) -> Services:
    services = world.services(Settings(**{**SETTINGS.model_dump(), "models": root, "feature_sample": sample}))
    await services.background.refresh()
    await services.models.refresh()
    services.rescorer.published.refresh()
    return services


def visitors(count: int, seed: int) -> Iterator[RecommendationQuery]:
    """Requests of people who have just taken three films, mostly of one kind."""
    rng = np.random.default_rng(seed)
    for n in range(count):
        kinds = (HORROR, COMEDY) if rng.random() < 0.5 else (COMEDY, HORROR)
        recent = [str(rng.choice(kinds[int(rng.random() < 0.2)])) for _ in range(3)]
        yield RecommendationQuery(user_id=f"visitor{n % 300}", recent_items=list(dict.fromkeys(recent)), k=PLACES)


async def shown(services: Services, query: RecommendationQuery, request_id: str, at: int) -> tuple[Decision, Recommendations]:
    """One answer, and on what grounds."""
    decision = await services.recommender.recommend(query, plan_of(query, request_id=request_id, now_ms=at))
    return decision, recommendations(decision, services.shelf, request_id, at)


async def simulate(services: Services, folder: Path, count: int, clicks: Clicks, seed: int = 5) -> None:
    """So many requests, a minute apart, and their clicks ten seconds later, into a lake."""
    log, rng, start = ListLog(), np.random.default_rng(seed), NOW
    for n, query in enumerate(visitors(count, seed)):
        at = start + n * SECONDS
        decision, answer = await shown(services, query, f"r{n}", at)
        log.append(IMPRESSIONS, impression(decision, answer, at), log_time=at)
        for place, item in enumerate(answer["items"]):
            if clicks(item["item_id"], place, rng):
                log.append(CLICKS, click(f"r{n}", query.user_id, item["item_id"], at + 10_000), log_time=at + 10_000)
    sync(lake_at(folder), log, start + (count + 60) * SECONDS)


def click(request_id: str | None, user: str | None, item: str, at: int) -> dict[str, Any]:
    event = {"user_id": user, "item_id": item, "timestamp": at}
    return event if request_id is None else {**event, "request_id": request_id}


def tired_of_hits(item: str, place: int, rng: np.random.Generator) -> bool:
    """They click what few have taken, and more of what stands high."""
    return bool(rng.random() < chance(item) / (1 + 0.15 * place))


def chance(item: str) -> float:
    """That somebody who is tired of hits clicks an item in the first place."""
    return 0.6 if item in QUIET else 0.15


def anything(item: str, place: int, rng: np.random.Generator) -> bool:
    """They click by chance: there is nothing to learn."""
    return bool(rng.random() < 0.2)


def favouring(feature: str, weight: float, features: str | None = None, width: int = 4) -> BlendRanker:
    """A ranker that adds `weight` times one feature, as far as it differs from that of the list, to the blend's log p."""
    names = (*feature_names(SOURCES), LOG_SHARE)
    sizes = {"1": 1, "F": len(names), "2F": 2 * len(names), "D": width, "H": 2, "K": width // 2}
    arrays = {name: np.zeros([sizes[one] for one in shape], np.float32) for name, shape in SlateRanker.SHAPES.items()}
    arrays["sds"][:] = arrays["spreads"][:] = 1
    arrays["direct_kernel"][names.index(feature)] = weight
    return BlendRanker(SlateRanker(arrays), digest(SOURCES) if features is None else features)


def promoted(root: Path, ranker: BlendRanker, number: int = 1) -> str:
    """The ranker as a version that serves; its name."""
    told = TrainedOn(first_ms=NOW - 1000, last_ms=NOW, events=900, users=9, items=9)
    version = publish_ranker(root, MODEL, ranker, facts(seed=number, created_ms=NOW + number * 1000, trained_on=told))
    promote(root, MODEL, version, Note(NOW, "test", "to see it serve"), force=True)
    return f"{MODEL}@{version}"


async def _write(folder: Path) -> None:
    """What docs/ranking.md shows: 3,400 requests of people who are tired of hits."""
    world, _ = films()
    await simulate(await serving(world, folder / "models"), folder / "lake", 3400, tired_of_hits)


if __name__ == "__main__":
    asyncio.run(_write(Path(sys.argv[1])))
