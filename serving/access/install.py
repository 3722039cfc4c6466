"""Puts the gate before an app's routes, as the settings say."""

from __future__ import annotations

import logging
import sys
from typing import Final

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from schemas.settings import Settings
from serving.access.bucket import Rate
from serving.access.documented import document
from serving.access.gate import Gate
from serving.access.keys import KeyRing, keys_of
from serving.access.limiter import Limiter, SharedBuckets
from serving.services import Services

log = logging.getLogger(__name__)

_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
_METHODS: Final = ("GET", "HEAD", "POST", "DELETE")
_ASKED: Final = ("Authorization", "Content-Type")
_TOLD: Final = ("WWW-Authenticate", "Retry-After", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset", "RateLimit-Policy")


class Access:
    """Who may call one API process, from where, how often.

    Args:
        settings: of this process.
        services: its parts; the limits go by whether their store answers.

    Raises:
        InvalidSettings: the keys are wrong.
    """

    def __init__(self, settings: Settings, services: Services) -> None:
        grants = keys_of(settings)
        self._keys = None if grants is None else KeyRing(grants)
        self._origins = settings.origins
        self._metrics = services.metrics
        self._limiter = _limiter(settings, services)

    def install(self, app: FastAPI) -> None:
        """Put the gate before the routes, and what pages of other origins need around it."""
        document(app, keyed=self._keys is not None)
        app.add_middleware(Gate, keys=self._keys, limiter=self._limiter, origins=self._origins, metrics=self._metrics)
        if self._origins:  # around the gate: a browser asks beforehand without a key, and shall be able to read a refusal
            app.add_middleware(
                CORSMiddleware, allow_origins=self._origins, allow_methods=_METHODS, allow_headers=_ASKED, expose_headers=_TOLD
            )

    def announce(self, host: str) -> None:
        """Say how open this API is."""
        outside = host not in _LOOPBACK
        if self._keys is not None:
            sys.stdout.write(f"Freshet API: asks for a key, {len(self._keys)} known\n")
            sys.stdout.flush()
            if outside:
                log.warning("%s is not the loopback address and keys travel as they are: put TLS before it", host)
            return
        log.warning("the API is open: it asks for no keys")
        if outside:
            log.warning("and %s is not the loopback address: everybody who reaches it may read and write", host)

    async def close(self) -> None:
        """Let go of what the limits need."""
        if self._limiter is not None:
            await self._limiter.close()


def _limiter(settings: Settings, services: Services) -> Limiter | None:
    if not settings.rate_limit:
        return None
    rate = Rate(settings.rate_limit, settings.rate_burst)
    shared = SharedBuckets(settings.redis, rate, settings.store_timeout_ms / 1000) if settings.redis else None
    return Limiter(rate, shared, lambda: services.store.answers, services.metrics.limited_alone.inc)
