"""The API: wiring and start."""

from __future__ import annotations

import gc
import logging
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import FrameType
from typing import Final

import uvicorn
from fastapi import FastAPI

from schemas.settings import Settings
from serving import (
    problems,
    routes_events,
    routes_groups,
    routes_health,
    routes_lookup,
    routes_models,
    routes_onboarding,
    routes_rank,
    routes_recommend,
    routes_requests,
    routes_scoreboard,
    routes_surfaces,
)
from serving.access.install import Access
from serving.draining import DrainingProtocol
from serving.edge import Edge
from serving.listening import EagerServer
from serving.openapi_examples import illustrate
from serving.overload import Overload, lanes_of
from serving.services import DEFAULTS, Services, connect
from stream_workers.models.online.settings import BankSettings

_DRAIN_SECONDS: Final = 5
# Longer than clients and load balancers keep an idle connection: the side that closes must not be the side that gets a request.
_KEEP_ALIVE_SECONDS: Final = 75


def create_app(settings: Settings, services: Services | None = None, numbers: BankSettings = DEFAULTS) -> FastAPI:
    """The app. It connects when it starts and answers whatever is down.

    Args:
        settings: of this process.
        services: what requests use; by default the Redis and Kafka of the settings.
        numbers: of the online models; the learner's.
    """
    parts = services or connect(settings, numbers)
    access = Access(settings, parts)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await parts.start()
        yield
        await parts.stop()
        await access.close()

    app = FastAPI(
        title="Freshet", version="1", description="What a person clicked a moment ago changes what they are shown next.",
        lifespan=lifespan, responses=problems.DOCUMENTED,
    )  # fmt: skip
    app.state.services = parts
    app.state.access = access
    problems.install(app)
    lanes = lanes_of(settings)
    parts.metrics.watch(lanes)
    app.add_middleware(Overload, lanes=lanes, metrics=parts.metrics)  # behind the gate: nothing is read of a body before it
    access.install(app)
    illustrate(app)
    app.add_middleware(Edge, metrics=parts.metrics)
    for routes in (
        routes_recommend,
        routes_groups,
        routes_onboarding,
        routes_rank,
        routes_requests,
        routes_events,
        routes_lookup,
        routes_scoreboard,
        routes_models,
        routes_surfaces,
        routes_health,
    ):
        app.include_router(routes.router)
    return app


def run(settings: Settings, numbers: BankSettings = DEFAULTS) -> None:
    """Serve until SIGTERM or SIGINT; requests that have begun are answered first.

    Args:
        settings: of this process.
        numbers: of the online models; the learner's.

    Raises:
        OSError: the address cannot be bound.
    """
    # uvicorn raises the signal again once it has drained; a stop that was asked for ends with status 0.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    prepare()
    app = create_app(settings, numbers=numbers)
    listening = bound(settings.api_host, settings.api_port)
    announce(settings, listening.getsockname()[1])
    app.state.access.announce(settings.api_host)
    try:
        server_of(app).run(sockets=[listening])
    finally:
        listening.close()


def prepare() -> None:
    """What holds for a whole process that serves, and for those that are forked from it."""
    # aiokafka complains ten times a second while Kafka is away; event_log and the follower say it once.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    # The thread that follows the learner wants the interpreter too; the default lets it keep a request waiting for 5 ms each time.
    sys.setswitchinterval(0.0005)
    # The catalogue is a hundred thousand long-lived objects; walking all of them again and again would hold up requests.
    gc.set_threshold(100_000, 50, 1000)


def server_config(app: FastAPI) -> uvicorn.Config:
    """How an app is served."""
    return uvicorn.Config(
        app, loop="uvloop", http=DrainingProtocol, access_log=False, log_config=None, lifespan="on",
        timeout_graceful_shutdown=_DRAIN_SECONDS, timeout_keep_alive=_KEEP_ALIVE_SECONDS, server_header=False,
    )  # fmt: skip


def server_of(app: FastAPI) -> EagerServer:
    """The server that an app is run in, where one process serves."""
    return EagerServer(server_config(app))


def _leave(_number: int, _frame: FrameType | None) -> None:
    sys.exit(0)


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens at this address.

    Raises:
        OSError: it cannot be bound.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=2048)


def announce(settings: Settings, port: int) -> None:
    """Say where the API is."""
    host = f"[{settings.api_host}]" if ":" in settings.api_host else settings.api_host
    url = f"http://{host}:{port}"
    sys.stdout.write(f"Freshet API: {url} (pages: {url}/docs)\n")
    sys.stdout.flush()
