"""The sources of a product team: asked beside the store, each within its time budget, left alone while it keeps failing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterator, Mapping
from time import monotonic
from typing import Final, Protocol

from schemas.errors import InvalidSettings, SourceFailed
from serving.candidates.answer import OwnAnswer, Question, items_of, question_of
from serving.candidates.breaker import Breaker
from serving.candidates.own_http import HttpSource
from serving.candidates.own_python import PythonSource, loaded
from serving.metrics import Metrics
from serving.plan import Plan
from serving.query import RecommendationQuery
from serving.surface_parts import Keys
from serving.surface_sources import OwnSource
from serving.surfaces import Surfaces

log = logging.getLogger(__name__)

_GRACE_SECONDS: Final = 0.005  # for a task to end by itself once its time is over
_NOT_TRIED: Final = frozenset({"busy", "open"})


class Fetches(Protocol):
    """Brings an answer, whatever it is."""

    async def fetch(self, question: Question) -> object:
        """The answer.

        Raises:
            SourceFailed: there is none.
        """

    async def close(self) -> None:
        """End."""


class Guarded:
    """One source behind its budget and its circuit breaker."""

    def __init__(self, name: str, declared: OwnSource, source: Fetches, metrics: Metrics) -> None:
        self.name = name
        self.declared = declared
        self._source = source
        self._metrics = metrics
        self._breaker = Breaker()

    async def answer(self, question: Question) -> OwnAnswer:
        """What it proposes, within its budget. Never fails."""
        if not self._breaker.allows(monotonic()):
            return self._failed(SourceFailed("open", "it kept failing"))
        try:
            items = await self._timed(question)
        except SourceFailed as failure:
            return self._failed(failure)
        except asyncio.CancelledError:
            self._failed(SourceFailed("timeout", "it did not even end"))  # nor must the trial of an open breaker be lost
            raise
        except Exception as error:  # a request must not end for what a source of others brings about
            log.exception("source %s", self.name)
            return self._failed(SourceFailed("raised", f"{type(error).__name__}: {error}"))
        if self._breaker.open:
            log.warning("source %s: answers again", self.name)
        self._breaker.succeeded()
        return OwnAnswer(items)

    async def close(self) -> None:
        """Close what it holds open."""
        await self._source.close()

    async def _timed(self, question: Question) -> tuple[str, ...]:
        started = monotonic()
        try:
            async with asyncio.timeout(self.declared.seconds):
                return items_of(await self._source.fetch(question), self.declared.max_items)
        except TimeoutError as error:
            raise SourceFailed("timeout", f"no answer within {self.declared.timeout_ms} ms") from error
        finally:
            self._metrics.source_seconds.labels(self.name).observe(monotonic() - started)

    def _failed(self, failure: SourceFailed) -> OwnAnswer:
        self._metrics.source_failures.labels(self.name, failure.reason).inc()
        if failure.reason not in _NOT_TRIED:
            was_open = self._breaker.open
            self._breaker.failed(monotonic())
            if self._breaker.open and not was_open:
                log.warning("source %s: %s; left alone until it answers", self.name, failure)
        return OwnAnswer(failure=failure.reason)


class UnderWay:
    """Answers that are on their way."""

    def __init__(self, tasks: Mapping[str, asyncio.Task[OwnAnswer]], until: float) -> None:
        self._tasks = tasks
        self._until = until

    async def answers(self) -> dict[str, OwnAnswer]:
        """All of them, by source; waits no longer than the longest budget that began when they were asked."""
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=max(0.0, self._until - monotonic()) + _GRACE_SECONDS)
        return {name: _taken(task) for name, task in self._tasks.items()}


_NOTHING: Final = UnderWay({}, 0.0)


class OwnSources:
    """All sources of the surfaces file in force.

    Args:
        hosts: `host` or `host:port` that may be asked by HTTP; one without a port stands for all of its ports.
        tokens: source name to the token that it is sent.
    """

    def __init__(self, hosts: Collection[str], tokens: Mapping[str, str], metrics: Metrics) -> None:
        self._hosts = frozenset(hosts)
        self._tokens = tokens
        self._metrics = metrics
        self._sources: dict[str, Guarded] = {}
        self._retired: list[Guarded] = []

    def __getitem__(self, name: str) -> Guarded:
        return self._sources[name]

    def faults(self, surfaces: Surfaces) -> Iterator[tuple[Keys, str]]:
        """What is wrong with a file, also with what it names outside of it. Imports the modules that it names."""
        yield from surfaces.faults()
        for name, declared in surfaces.sources.items():
            if declared.python is not None:
                try:
                    loaded(declared.python)
                except InvalidSettings as error:
                    yield ("sources", name, "python"), str(error)
            elif not self._may_ask(*declared.address):
                yield ("sources", name, "url"), f"{declared.address[0]} is not one of FRESHET_SOURCE_HOSTS"

    def adopt(self, surfaces: Surfaces) -> None:
        """Take over the sources of a file without faults. One that is declared as before keeps its connections and its breaker."""
        kept = {n: s for n, s in self._sources.items() if surfaces.sources.get(n) == s.declared}
        new = {n: self._made(n, declared) for n, declared in surfaces.sources.items() if n not in kept}
        self._retired += [source for name, source in self._sources.items() if name not in kept]
        self._sources = kept | new

    def ask(self, query: RecommendationQuery, plan: Plan) -> UnderWay:
        """Begin to ask those that the plan wants; the caller goes on with something else."""
        if not plan.own:
            return _NOTHING
        wanted = [source for source in map(self._sources.get, plan.own) if source is not None]
        tasks = {
            source.name: asyncio.create_task(source.answer(question_of(query, plan, source.declared.max_items)))
            for source in wanted
        }
        return UnderWay(tasks, monotonic() + max((source.declared.seconds for source in wanted), default=0.0))

    async def sweep(self) -> None:
        """Close what was replaced. Called later than any question can still be under way."""
        retired, self._retired = self._retired, []
        for source in retired:
            await source.close()

    async def stop(self) -> None:
        """Close everything. Services that are started again get connections anew."""
        for source in (*self._retired, *self._sources.values()):
            await source.close()
        self._retired = []

    def _may_ask(self, host: str, port: int) -> bool:
        return host in self._hosts or f"{host}:{port}" in self._hosts

    def _made(self, name: str, declared: OwnSource) -> Guarded:
        if declared.url is not None:
            return Guarded(name, declared, HttpSource(declared.url, self._tokens.get(name)), self._metrics)
        return Guarded(name, declared, PythonSource(loaded(declared.python or "")), self._metrics)


def _taken(task: asyncio.Task[OwnAnswer]) -> OwnAnswer:
    if not task.done():
        task.cancel()
        return OwnAnswer(failure="timeout")
    return OwnAnswer(failure="timeout") if task.cancelled() else task.result()
