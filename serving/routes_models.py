"""Which models there are, and which of them rank here."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from fastapi import APIRouter

from feature_store.version_listing import listing
from schemas.timestamps import format_timestamp
from serving.answers import ModelsPage, ModelVersion, OnlineModels
from serving.dependencies import Served
from serving.followed_model import LearnerModels
from serving.http_json import Json

router = APIRouter(tags=["models"])
_ARCHIVED: Final = "archived"


@router.get("/v1/models", response_model=ModelsPage)
async def models(services: Served) -> Json:
    """The online models of this process, and every published version: serving, in the shadow, the one before, archived."""
    ranker, root = services.rescorer.published, services.settings.models
    ranking = (*services.blend.published.current.names, *((ranker.current.name,) if ranker.current else ()))
    found = [] if root is None else await asyncio.to_thread(listing, root)
    page: ModelsPage = {
        "online": _online(services.models),
        "versions": [_version(one, ranking) for one in found],
        "faults": services.blend.published.faults + ranker.faults,
    }
    return Json(page)


def _online(replica: LearnerModels) -> OnlineModels | None:
    model, index = replica.current, replica.index
    if model is None or index is None:
        return None
    return {
        "nearline": model.name, "blend": f"blend@{index.events}", "trained": model.trained, "events": index.events,
        "committed_at": format_timestamp(index.at),
    }  # fmt: skip


def _version(found: dict[str, Any], ranking: tuple[str, ...]) -> ModelVersion:
    told: ModelVersion = {
        "model": found["model"],
        "version": found["version"],
        "status": found["status"] or _ARCHIVED,
        "ranks_here": f"{found['model']}@{found['version']}" in ranking,
    }
    if "problem" in found:
        return {**told, "problem": found["problem"]}
    return {
        **told,
        "created_at": format_timestamp(found["created_ms"]),
        "trained_until": format_timestamp(found["trained_until_ms"]),
        "bytes": found["bytes"],
        "metrics": dict(found["metrics"]),
    }
