"""What the event buffers keep, what they drop, and when they send it. No network."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from freshet_client import BufferFull, BufferOptions, Event, Retry, Unreachable
from freshet_client.answers import Intake, RejectedEvent
from freshet_client.errors import FreshetError, error_of
from freshet_client.outbox import Outbox


def event(name: str, **more: Any) -> Event:
    return Event("view", "1", "a", event_id=name, **more)


def outbox(*names: str, now: float = 0.0, **options: Any) -> Outbox:
    box = Outbox(BufferOptions(**options))
    for name in names:
        box.add(event(name), now)
    return box


def flying(box: Outbox) -> list[str]:
    return [orjson.loads(line)["event_id"] for line in box.take()]


def refused(box: Outbox) -> list[tuple[str, str]]:
    return [(one.event["event_id"], one.reason) for one in box.reports()]


# --- when


def test_a_batch_waits_for_company_but_not_when_it_is_full_or_wanted() -> None:
    box = outbox("a", now=10.0, linger=0.5, batch=2)
    assert box.due_in(10.1, urgent=False) == pytest.approx(0.4)
    assert box.due_in(10.1, urgent=True) == 0.0
    assert box.due_in(10.6, urgent=False) == 0.0
    box.add(event("b"), 10.2)
    assert box.due_in(10.2, urgent=False) == 0.0
    assert flying(box) == ["a", "b"]
    assert box.due_in(99.0, urgent=True) is None, "one batch at a time"


def test_pauses_grow_with_full_jitter_and_heed_the_server() -> None:
    box = outbox("a", retry=Retry(base=1.0, cap=8.0))
    for bound in (1.0, 2.0, 4.0, 8.0, 8.0):
        assert flying(box) == ["a"]
        box.note(Unreachable("away"), 100.0)
        assert 0.0 <= (box.due_in(100.0, urgent=True) or 0.0) <= bound
    flying(box)
    box.note(error_of(429, None, 60.0), 100.0)
    assert 60.0 <= (box.due_in(100.0, urgent=True) or 0.0) <= 68.0
    flying(box)
    box.note(error_of(503, None, 1e9), 100.0)
    assert 3600.0 <= (box.due_in(100.0, urgent=True) or 0.0) <= 3608.0, "nobody waits for ever because of a header"


# --- what becomes of a batch


def test_what_was_accepted_is_done_and_what_was_rejected_is_reported_once() -> None:
    box = outbox("a", "b", "c")
    flying(box)
    box.note(Intake(accepted=2, rejected=(RejectedEvent(index=1, reason="invalid", detail="x"),)), 0.0)
    assert refused(box) == [("b", "invalid")]
    assert box.counts == (2, 1, 0)
    assert box.reports() == []


@pytest.mark.parametrize(
    "answer",
    [
        Intake(accepted=0), Intake(accepted=3), Intake(accepted=1, rejected=(RejectedEvent(index=7, reason="x"),)),
        Intake(accepted=0, rejected=(RejectedEvent(index=0, reason="x"), RejectedEvent(index=0, reason="x"))),
    ],
)  # fmt: skip
def test_an_answer_about_other_events_settles_nothing(answer: Intake) -> None:
    box = outbox("a", "b")
    flying(box)
    box.note(answer, 0.0)
    assert box.counts == (0, 0, 2)
    assert flying(box) == ["a", "b"]


@pytest.mark.parametrize("error", [Unreachable("x"), error_of(503, None, None), error_of(401, None, None), FreshetError("bug")])
def test_after_an_error_the_same_batch_comes_again_before_newer_ones(error: FreshetError) -> None:
    box = outbox("a", "b", batch=2)
    flying(box)
    box.add(event("c"), 0.0)
    box.note(error, 0.0)
    assert flying(box) == ["a", "b"]


def test_one_event_that_spoils_its_batch_is_found_by_halving() -> None:
    box = outbox(*map(str, range(100)))
    attempts = 0
    while box.due_in(0.0, urgent=True) is not None:
        attempts += 1
        names = flying(box)
        box.note(error_of(422, {"detail": "not JSON"}, None) if "37" in names else Intake(accepted=len(names)), 0.0)
    assert refused(box) == [("37", "refused")]
    assert box.counts == (99, 1, 0)
    assert attempts < 40


# --- bounds


def test_the_oldest_gives_way_and_is_reported() -> None:
    box = outbox("a", "b", "c", capacity=2)
    assert refused(box) == [("a", "buffer_full")]
    assert flying(box) == ["b", "c"]


def test_a_batch_on_its_way_does_not_give_way() -> None:
    box = outbox("a", "b", capacity=2)
    flying(box)
    box.add(event("c"), 0.0)
    box.add(event("d"), 0.0)
    assert refused(box) == [("c", "buffer_full")]
    box.note(Intake(accepted=2), 0.0)
    assert flying(box) == ["d"]


def test_bytes_are_bounded_too() -> None:
    box = Outbox(BufferOptions(capacity_bytes=10_000))
    for n in range(10):
        box.add(event(str(n), context={"x": "y" * 3000}), 0.0)
    assert len(box) == 3
    assert [name for name, _ in refused(box)] == [str(n) for n in range(7)]


def test_or_the_new_one_is_refused() -> None:
    box = outbox("a", "b", capacity=2, when_full="raise")
    with pytest.raises(BufferFull):
        box.add(event("c"), 0.0)
    assert flying(box) == ["a", "b"]


def test_a_request_stays_below_the_bounds_of_the_api() -> None:
    from serving.edge import MAX_BODY_BYTES
    from serving.intake import MAX_EVENTS

    box = Outbox(BufferOptions())
    for n in range(3000):
        box.add(event(str(n), context={"x": "y" * (n % 3000)}), 0.0)
    sent = 0
    while batch := box.take():
        assert len(batch) <= MAX_EVENTS
        assert sum(map(len, batch)) + len(batch) + 2 < MAX_BODY_BYTES
        sent += len(batch)
        box.note(Intake(accepted=len(batch)), 0.0)
    assert sent == 3000


@pytest.mark.parametrize("options", [{"batch": 0}, {"batch": 1001}, {"capacity": 0}])
def test_wrong_options_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        BufferOptions(**options)  # type: ignore[arg-type]
