"""What the API counts about itself, for Prometheus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from feature_store.batch_status import BatchStatus
from feature_store.model_pages import Index
from serving.answers import Scoreboard
from serving.lane import Lane
from serving.scoreboard import gauges
from serving.shared_counts import Together

_SECONDS: Final = (0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
_EFFECT_SECONDS: Final = (0.005, 0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.1, 0.15, 0.25, 0.5, 1.0, 5.0, 30.0, 300.0)
_TAKEN_SECONDS: Final = (0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 5.0)


class Metrics:
    """The instruments of one API process, in a registry of their own.

    Args:
        counts: folder in which several processes count together, see `share_counts`; None: this one is alone.
    """

    def __init__(self, counts: Path | None = None) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter("freshet_requests", "Requests answered", ["route", "method", "status"], registry=registry)
        self.latency = Histogram(
            "freshet_request_seconds", "Time to answer, by route", ["route"], buckets=_SECONDS, registry=registry
        )
        self.degraded = Counter("freshet_degraded", "Answers from a lower step, by reason", ["reason"], registry=registry)
        self.effect = Histogram(
            "freshet_event_to_effect_seconds",
            "From the log taking in a user's newest event to its effect in the store; once per answered recommendation",
            buckets=_EFFECT_SECONDS,
            registry=registry,
        )
        self.round_trips = Histogram(
            "freshet_store_round_trips", "Store round trips per recommendation", buckets=(0, 1, 2, 3, 4), registry=registry
        )
        self.events = Counter("freshet_events", "Events of POST /v1/events, by outcome", ["outcome"], registry=registry)
        self.impressions = Counter("freshet_impressions", "Impressions, by outcome", ["outcome"], registry=registry)
        self.decisions = Counter("freshet_decisions", "Records of decisions, by outcome", ["outcome"], registry=registry)
        self.surfaces_refused = Counter("freshet_surfaces_refused", "Changed surfaces files that were wrong", registry=registry)
        self.models_taken = Histogram(
            "freshet_models_taken_seconds",
            "From a version of the online models being written for all API processes to its use in one",
            buckets=_TAKEN_SECONDS,
            registry=registry,
        )
        self.catalogue_items = Gauge("freshet_catalogue_items", "Items in the catalogue", registry=registry)
        self.store_up = Gauge("freshet_store_up", "1 while the feature store answers", registry=registry)
        self.kafka_up = Gauge("freshet_kafka_up", "1 while a producer is connected to Kafka", registry=registry)
        self._workers = Gauge("freshet_workers", "Workers with a heartbeat", registry=registry)
        self._lag = Gauge("freshet_worker_lag", "Records not yet applied, all workers", registry=registry)
        self._applied = Gauge("freshet_worker_events", "Events applied since the workers started, all workers", registry=registry)
        self._effect_ms = Gauge(
            "freshet_worker_effect_ms", "Event to effect as the slowest worker measures it", ["quantile"], registry=registry
        )
        self._add_edge(registry)
        self._add_own_sources(registry)
        self._add_model_gauges(registry)
        self._add_batch_gauges(registry)
        self._told = registry if counts is None else Together(counts, registry)

    def _add_edge(self, registry: CollectorRegistry) -> None:
        """What is refused before any work."""
        self.refused = Counter(
            "freshet_refused", "Requests that the gate refused, or of which there were too many, by reason", ["reason"],
            registry=registry,
        )  # fmt: skip
        self._working = Gauge("freshet_lane_working", "Requests that are worked on, by lane", ["lane"], registry=registry)
        self._waiting = Gauge("freshet_lane_waiting", "Requests that wait for others, by lane", ["lane"], registry=registry)
        self.limited_alone = Counter(
            "freshet_limited_alone", "Requests counted against a limit by this process alone: Redis was away", registry=registry
        )

    def _add_own_sources(self, registry: CollectorRegistry) -> None:
        """What a product team brings along: their sources, and their ranker."""
        self.source_seconds = Histogram(
            "freshet_source_seconds", "Time that a product team's source took", ["source"], buckets=_SECONDS, registry=registry
        )
        self.source_failures = Counter(
            "freshet_source_failures", "Questions to such a source without an answer, by reason", ["source", "reason"],
            registry=registry,
        )  # fmt: skip
        self.ranker_refused = Counter(
            "freshet_ranker_refused", "Requests that a published ranker could not order, by reason", ["reason"], registry=registry
        )

    def _add_model_gauges(self, registry: CollectorRegistry) -> None:
        """How good the online models are, and how far this process follows them."""
        self._scoreboard = Gauge(
            "freshet_scoreboard", "Prequential metrics of the online models", ["model", "metric", "window"], registry=registry
        )
        self._ranked = Gauge("freshet_scoreboard_ranked", "Events that the scoreboard has ranked", registry=registry)
        self._drifts = Gauge("freshet_drifts", "Drifts of the blend's hits among those the scoreboard remembers", registry=registry)
        self._replica_age = Gauge(
            "freshet_replica_age_seconds",
            "Since the commit of the online models that rank here; NaN: there are none",
            registry=registry,
        )
        self._replica_events = Gauge("freshet_replica_events", "Events that the online models here have learnt", registry=registry)
        self._replica_faults = Gauge(
            "freshet_replica_faults", "Commits of the learner that could not be taken over", registry=registry
        )
        self._blend_seconds = Gauge(
            "freshet_blend_seconds", "Running mean of what one proposal of the blend costs", registry=registry
        )

    def _add_batch_gauges(self, registry: CollectorRegistry) -> None:
        """How the periodic batch runs went. Alert on the age of the last good one, and on a failure."""
        self._batch_age = Gauge(
            "freshet_batch_success_age_seconds", "Since the last good batch run; NaN: there was none", registry=registry
        )
        self._batch_failures = Gauge("freshet_batch_failures", "Batch runs that failed", registry=registry)
        self._batch_failed = Gauge("freshet_batch_failed", "1 if the last batch run failed", registry=registry)
        self._batch_faults = Gauge("freshet_published_faults", "Published versions that could not be used here", registry=registry)

    def watch(self, lanes: Mapping[str, Lane]) -> None:
        """Show how full the lanes are whenever somebody looks."""
        for name, lane in lanes.items():
            self._working.labels(name).set_function(partial(getattr, lane, "working"))
            self._waiting.labels(name).set_function(partial(getattr, lane, "waiting"))

    def note_list(self, round_trips: int, degraded: str | None) -> None:
        """Count an answered list: how often it asked the store, and why it is from a lower step, if it is."""
        self.round_trips.observe(round_trips)
        if degraded:
            self.degraded.labels(degraded).inc()

    def note_batch(self, status: BatchStatus, faults: int, now_ms: int) -> None:
        """Show how the batch runs went, and how many versions this process refused."""
        self._batch_age.set(float("nan") if status.succeeded_at is None else (now_ms - status.succeeded_at) / 1000)
        self._batch_failures.set(status.failures)
        self._batch_failed.set(status.failure is not None)
        self._batch_faults.set(faults)

    def note_scoreboard(self, board: Scoreboard) -> None:
        """Show what the scoreboard says; what it no longer says disappears."""
        self._scoreboard.clear()
        for labels, value in gauges(board):
            self._scoreboard.labels(*labels).set(value)
        self._ranked.set(board["ranked"])
        self._drifts.set(len(board["drifts"]))

    def note_models(self, index: Index | None, faults: int, blend_seconds: float, now_ms: int) -> None:
        """Show how far this process follows the learner."""
        self._replica_age.set((now_ms - index.at) / 1000 if index else float("nan"))
        self._replica_events.set(index.events if index else 0)
        self._replica_faults.set(faults)
        self._blend_seconds.set(blend_seconds)

    def note_workers(self, heartbeats: Sequence[Mapping[str, Any]]) -> None:
        """Sum up the heartbeats; a worker that stops leaves one without a pid."""
        heartbeats = [beat for beat in heartbeats if "pid" in beat]
        self._workers.set(len(heartbeats))
        self._lag.set(sum(_number(beat.get("lag")) for beat in heartbeats))
        self._applied.set(sum(_number(beat.get("events_total")) for beat in heartbeats))
        for quantile in ("p50", "p99"):
            measured = [_number(beat["effect_ms"].get(quantile)) for beat in heartbeats if isinstance(beat.get("effect_ms"), dict)]
            self._effect_ms.labels(quantile).set(max(measured, default=0.0))

    def text(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self._told)


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
