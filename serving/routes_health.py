"""Liveness, readiness, metrics."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Final

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from feature_store.batch_status import read_status
from serving.answers import Readiness
from serving.dependencies import Served
from serving.http_json import Json

router = APIRouter(tags=["health"])
_ALIVE: Final = {"status": "alive"}


@router.get("/healthz")
async def alive() -> Json:
    """The process lives."""
    return Json(_ALIVE)


@router.get("/readyz", response_model=Readiness, responses={503: {"model": Readiness}})
async def ready(services: Served) -> Json:
    """200 once the store was reached and the catalogue read (or Kafka is known to be away); the body says each check."""
    state = services.readiness()
    return Json(state, HTTPStatus.OK if state["ready"] else HTTPStatus.SERVICE_UNAVAILABLE)


@router.get("/metrics", response_class=Response)
async def metrics(services: Served) -> Response:
    """Prometheus' text format."""
    await services.heartbeats.refresh()
    services.metrics.catalogue_items.set(len(services.shelf))
    services.metrics.store_up.set(services.store.answers)
    services.metrics.kafka_up.set(services.log.connected)
    services.metrics.note_scoreboard(await services.scoreboard.read())
    services.metrics.note_models(services.models.index, services.models.faults, services.blend.seconds, services.clock())
    status = await asyncio.to_thread(read_status, services.settings.models)
    services.metrics.note_batch(status, services.blend.published.faults + services.rescorer.published.faults, services.clock())
    return Response(services.metrics.text(), media_type=CONTENT_TYPE_LATEST)
