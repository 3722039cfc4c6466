"""What API processes know of one another: who can answer, and what all of them have counted."""

from __future__ import annotations

import asyncio
from pathlib import Path

import prometheus_client.values
import pytest

from feature_store.shared_slots import Slots
from serving.metrics import Metrics
from serving.seats import Board, Seat, State
from serving.services import Services, assemble
from serving.shared_counts import share_counts
from tests.test_serving_world import SETTINGS, World


@pytest.fixture
def one_process_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prometheus_client.values, "ValueClass", prometheus_client.values.ValueClass)


def seats(folder: Path, count: int = 2) -> list[Seat]:
    slots, board = Slots(), Board(count)
    return [Seat(number, slots, board, folder) for number in range(count)]


def services_at(seat: Seat | None) -> Services:
    world = World()
    return assemble(SETTINGS, world.store, world.log, world.catalogue, world.caught_up, seat=seat)


async def test_ready_means_every_process_that_takes_requests(tmp_path: Path) -> None:
    one, other = seats(tmp_path)
    services = services_at(one)
    await services.background.refresh()
    assert services.readiness()["ready"]
    assert services.readiness()["checks"]["processes"] == "1 of 2 ready"
    other.note(ready=False)
    assert not services.readiness()["ready"], "a request may come to the other"
    other.note(ready=True)
    assert services.readiness()["checks"]["processes"] == "2 of 2 ready"
    other.board.note(1, State.ABSENT)
    assert services.readiness()["ready"], "who is not there takes no requests"
    assert "processes" not in services_at(None).readiness()["checks"]


async def test_a_newcomer_waits_until_it_can_answer_if_others_can(tmp_path: Path) -> None:
    one, newcomer = seats(tmp_path)
    await asyncio.wait_for(newcomer.wait(lambda: False), 0.5)  # nobody else is there: it takes what comes
    one.note(ready=True)
    able = False
    waiting = asyncio.create_task(newcomer.wait(lambda: able))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    able = True
    await asyncio.wait_for(waiting, 0.5)


def instruments(folder: Path, number: int) -> Metrics:
    """Those of a process at this place."""
    share_counts(folder, number)
    return Metrics(folder)


def line(metrics: Metrics, start: str) -> list[str]:
    return [text for text in metrics.text().decode().splitlines() if text.startswith(start)]


@pytest.mark.usefixtures("one_process_only")
def test_counters_and_histograms_add_up_gauges_are_of_who_answers(tmp_path: Path) -> None:
    one, other = instruments(tmp_path, 0), instruments(tmp_path, 1)
    for metrics, count in ((one, 2), (other, 3)):
        metrics.events.labels("accepted").inc(count)
        metrics.models_taken.observe(0.01 * count)
        metrics.catalogue_items.set(100 * count)
    for metrics, items in ((one, 200.0), (other, 300.0)):
        assert line(metrics, "freshet_events_total") == ['freshet_events_total{outcome="accepted"} 5.0']
        assert line(metrics, "freshet_models_taken_seconds_count") == ["freshet_models_taken_seconds_count 2.0"]
        assert line(metrics, 'freshet_models_taken_seconds_bucket{le="0.02"}')[0].endswith(" 1.0")
        assert line(metrics, "freshet_catalogue_items ") == [f"freshet_catalogue_items {items}"]


@pytest.mark.usefixtures("one_process_only")
def test_who_replaces_a_process_counts_on(tmp_path: Path) -> None:
    instruments(tmp_path, 0).events.labels("accepted").inc(4)
    successor = instruments(tmp_path, 0)
    assert line(successor, "freshet_events_total") == ['freshet_events_total{outcome="accepted"} 4.0']
    successor.events.labels("accepted").inc()
    assert line(successor, "freshet_events_total") == ['freshet_events_total{outcome="accepted"} 5.0']
