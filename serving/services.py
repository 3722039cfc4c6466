"""Everything a request may need, wired once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Final, Protocol

from feature_store.catalogue import Catalogue
from feature_store.catalogue_follower import CatalogueFollower
from feature_store.decision_store import DecisionStore, RedisDecisions
from feature_store.redis_store import RedisStore
from feature_store.version_follower import VersionFollower
from schemas.events import Limits
from schemas.settings import Settings
from serving.answers import Readiness
from serving.background import Background, Heartbeats
from serving.blend_features import FeatureSample
from serving.blended import Blend
from serving.candidates.own import OwnSources
from serving.content_source import ContentSource
from serving.decision_log import DecisionLog
from serving.event_log import AbsentLog, EventLog, KafkaLog
from serving.followed_model import LearnerModels
from serving.group_members import Members
from serving.groups import GroupRecommender
from serving.guarded_store import AbsentStore, GuardedStore, Reader
from serving.impressions import ImpressionLog
from serving.inspection import Inspector
from serving.lookups import Lookups
from serving.metrics import Metrics
from serving.model_replica import ModelReplica
from serving.onboarding import OnboardingQuestions
from serving.ranker import Ranker
from serving.recommend import Recommender
from serving.request_ids import RANDOM_BYTES, new_ulid
from serving.rescorer import Rescorer
from serving.scoreboard import LiveScoreboard
from serving.seats import Seat
from serving.shared_models import SharedModels
from serving.shelf import Shelf
from serving.surface_watch import SurfaceWatch
from serving.trending_lists import TrendingLists
from stream_workers.models.deep.bank_sources import BankSources
from stream_workers.models.deep.blend_ranker import ranker_version
from stream_workers.models.deep.indexing import searchable
from stream_workers.models.online.origin import origin_of
from stream_workers.models.online.settings import BankSettings
from stream_workers.models.scoring_bank import ScoringBank

log = logging.getLogger(__name__)

_KAFKA_GRACE_SECONDS: Final = 10.0  # without Kafka for so long: ready nevertheless, answers come without a catalogue
_STOP_SECONDS: Final = 5.0
_BEING_READ: Final = "being read"
DEFAULTS: Final = BankSettings()


class Follower(Protocol):
    """Fills a catalogue in the background."""

    async def start(self) -> None:
        """Begin; returns at once."""

    async def stop(self) -> None:
        """End."""


def clock_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


@dataclass
class Services:
    """The parts of one API process. Nothing is connected before `start`."""

    settings: Settings
    store: GuardedStore
    log: EventLog
    follower: Follower | None
    shelf: Shelf
    lists: TrendingLists
    background: Background
    heartbeats: Heartbeats
    impressions: ImpressionLog
    decisions: DecisionLog
    inspector: Inspector
    models: LearnerModels
    blend: Blend
    rescorer: Rescorer
    scoreboard: LiveScoreboard
    recommender: Recommender
    groups: GroupRecommender
    ranker: Ranker
    onboarding: OnboardingQuestions
    lookups: Lookups
    metrics: Metrics
    limits: Limits
    surfaces: SurfaceWatch
    clock: Callable[[], int] = clock_ms
    seat: Seat | None = None
    started_at: float = 0.0

    def new_id(self) -> str:
        """A fresh id that sorts by time."""
        return new_ulid(self.clock(), os.urandom(RANDOM_BYTES))

    async def start(self) -> None:
        """Connect in the background; whatever is down now is picked up when it comes."""
        self.started_at = monotonic()
        await self.log.start()
        if self.follower is not None:
            await self.follower.start()
        self.impressions.start()
        self.decisions.start()
        self.surfaces.start()
        await self.background.start()
        self.onboarding.start()
        if self.seat is not None:
            await self.seat.wait(lambda: self.works)

    async def stop(self) -> None:
        """Send what is buffered, then close everything, none of it for longer than a few seconds."""
        follower_stop = [self.follower.stop] if self.follower is not None else []
        self.blend.close()
        for stop in (
            self.surfaces.stop,
            self.onboarding.stop,
            self.background.stop,
            self.impressions.stop,
            self.decisions.stop,
            *follower_stop,
            self.log.stop,
            self.store.close,
        ):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_STOP_SECONDS):
                    await stop()

    @property
    def works(self) -> bool:
        """Whether this process can answer from everything that there is."""
        checks = self._checks()
        return checks["store"] == "ok" and checks["catalogue"] != _BEING_READ

    def readiness(self) -> Readiness:
        """Whether the store was reached, and the catalogue read or Kafka known to be away: in every process that takes requests."""
        checks, ready = self._checks(), self.works
        if self.seat is not None:
            self.seat.note(ready)
            checks["processes"] = self.seat.summary
            ready = self.seat.all_ready
        return {"ready": ready, "checks": checks}

    def _checks(self) -> dict[str, str]:
        waited = monotonic() - self.started_at > _KAFKA_GRACE_SECONDS
        away = not self.log.connected and (waited or self.settings.kafka is None)
        return {
            "store": "ok" if self.lists.loaded and self.store.answers else "does not answer",
            "catalogue": "ok" if self.shelf.complete else "kafka is away" if away else _BEING_READ,
            "kafka": "ok" if self.log.connected else "not connected",
        }


def assemble(
    settings: Settings, store: Reader, event_log: EventLog, catalogue: Catalogue, caught_up: asyncio.Event,
    follower: Follower | None = None, clock: Callable[[], int] = clock_ms, numbers: BankSettings = DEFAULTS,
    decisions: DecisionStore | None = None, seat: Seat | None = None,
) -> Services:  # fmt: skip
    """Wire the parts around the given ends.

    Args:
        numbers: of the online models; the learner's.
        caught_up: set once the catalogue is whole.
        decisions: keeps what requests decide; None: nobody does.
        seat: place among the API processes that share their models; None: this one is alone.

    Raises:
        InvalidSettings: the surfaces file is wrong, with its lines.
    """
    metrics = Metrics(seat.counts if seat else None)
    guarded, shelf = GuardedStore(store, settings.store_timeout_ms / 1000), Shelf(catalogue, caught_up)
    lists = TrendingLists(guarded, shelf, settings.partitions)
    models = _models(guarded, numbers, metrics, seat)
    versions = VersionFollower(settings.models, settings.batch_models, searchable, BankSources)
    blend = Blend(models, versions)
    content = ContentSource(catalogue)
    own, rescorer = OwnSources(settings.allowed_hosts, settings.tokens_by_source, metrics), _rescorer(settings, metrics)
    recommender = Recommender(guarded, lists, shelf, blend, content, own, rescorer)
    members = Members(recommender, blend)
    return Services(
        settings=settings,
        store=guarded,
        log=event_log,
        follower=follower,
        shelf=shelf,
        lists=lists,
        background=Background(lists, shelf, models, content, versions, rescorer.published),
        heartbeats=Heartbeats(guarded, metrics),
        impressions=ImpressionLog(event_log, metrics),
        decisions=DecisionLog(decisions, recommender.steering, metrics),
        inspector=Inspector(shelf, recommender.steering, blend),
        models=models,
        blend=blend,
        rescorer=rescorer,
        scoreboard=LiveScoreboard(guarded),
        recommender=recommender,
        groups=GroupRecommender(guarded, shelf, recommender, members),
        ranker=Ranker(guarded, recommender, members),
        onboarding=OnboardingQuestions(shelf, lists, models),
        lookups=Lookups(guarded, lists, shelf, content, models),
        metrics=metrics,
        limits=_limits(settings),
        surfaces=SurfaceWatch(settings.surfaces, metrics, own),
        clock=clock,
        seat=seat,
    )


def _limits(settings: Settings) -> Limits:
    return Limits(settings.max_event_bytes, settings.max_future_seconds * 1000)


def _models(store: GuardedStore, numbers: BankSettings, metrics: Metrics, seat: Seat | None) -> LearnerModels:
    if seat is not None:
        return SharedModels(seat.slots, ScoringBank(numbers), metrics.models_taken.observe)
    return ModelReplica(store, lambda: ScoringBank(numbers), origin_of(numbers))


def connect(settings: Settings, numbers: BankSettings = DEFAULTS, seat: Seat | None = None) -> Services:
    """The real ends: Redis, Kafka, the `items` topic. Where an address is not set, answers do without."""
    catalogue = Catalogue()
    store = RedisStore(settings.redis, settings.store_timeout_ms / 1000) if settings.redis else AbsentStore()
    decisions = _decision_store(settings)
    if settings.kafka is None:
        return assemble(settings, store, AbsentLog(), catalogue, asyncio.Event(), numbers=numbers, decisions=decisions, seat=seat)
    follower = CatalogueFollower(settings.kafka, catalogue)
    kafka = KafkaLog(settings.kafka, settings.ack_timeout_ms, max(1 << 20, 2 * settings.max_event_bytes))
    return assemble(
        settings, store, kafka, catalogue, follower.caught_up, follower, numbers=numbers, decisions=decisions, seat=seat
    )


def _rescorer(settings: Settings, metrics: Metrics) -> Rescorer:
    ranker = VersionFollower(settings.models, settings.rankers, ranker_version, lambda found: found[0] if found else None)
    return Rescorer(ranker, settings.ranked_candidates, FeatureSample(settings.feature_sample), metrics)


def _decision_store(settings: Settings) -> DecisionStore | None:
    if settings.redis is None or not settings.decision_log_mb:
        return None
    return RedisDecisions(settings.redis, math.ceil(settings.decision_log_hours * 3600), settings.decision_log_mb << 20)
