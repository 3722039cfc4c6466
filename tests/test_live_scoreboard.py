"""The scoreboard of the live system says what an offline replay of the same events says, however many workers share them."""

from __future__ import annotations

import random
from collections.abc import Iterable
from functools import cache
from itertools import islice
from typing import Any

import numpy as np
import orjson
import pytest

from evaluation.judgement import judge
from evaluation.prequential import replay
from evaluation.protocol import questions
from feature_store.keys import MODEL_INDEX, SCOREBOARD
from feature_store.page_format import unpack_index
from ops.datasets import open_source
from ops.evaluate_source import as_interactions, catalogue, describe_items
from ops.replay import AS_FAST_AS_IT_GOES
from ops.replay import replay as send
from ops.sources import Source, SourceEvent
from stream_workers.handlers.interaction_merge import Merged
from stream_workers.models.online.bank import ModelBank
from tests.conftest import DATA
from tests.live import Live, wait_until
from tests.partitioned_world import RecordingBank, learnt, merged, told, unmerged

EVENTS = 12_000
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def source() -> Source:
    """Films where the data sets are, else a made-up shop."""
    return open_source("movietweetings", DATA) if DATA.is_dir() else open_source(f"synthetic:{EVENTS},1500,600", None)


def first_events(count: int) -> list[SourceEvent]:
    return list(islice(source().events(), count))


@cache
def offline() -> dict[str, float]:
    """Recall@10 of each model, over all events, in the replay of `freshet evaluate prequential`."""
    bank, batch = ModelBank(), as_interactions(first_events(EVENTS))
    describe_items(bank, catalogue(source()))
    judgement = judge(replay(bank, batch, questions(batch, "A"), 0), np.random.default_rng(1))
    return dict(zip(judgement.names, judgement.metrics["recall@10"].tolist(), strict=True))


def events_learnt(live: Live) -> int:
    blob = live.redis.get(MODEL_INDEX)
    return unpack_index(blob).events if blob else 0


def recall_of(scoreboard: dict[str, Any]) -> dict[str, float]:
    return {name: model["total"]["recall@10"] for name, model in scoreboard["models"].items()}


@pytest.mark.integration
def test_two_workers_judge_the_models_as_an_offline_replay_does(live: Live) -> None:
    for _ in range(2):
        live.worker(scoreboard_sample=1)
    wait_until(lambda: sorted(len(beat["partitions"]) for beat in live.heartbeats()) == [2, 2], 60, "two partitions each")
    wait_until(lambda: any((beat.get("learner") or {}).get("lag") is not None for beat in live.heartbeats()), 400, "a learner")
    send(live.settings, source(), AS_FAST_AS_IT_GOES, EVENTS, False, False, lambda line: None)
    wait_until(lambda: events_learnt(live) >= EVENTS, 120, "all events to be learnt")
    scoreboard = orjson.loads(live.redis.get(SCOREBOARD) or b"{}")
    assert scoreboard["events"] == EVENTS
    found = recall_of(scoreboard)
    for name, wanted in offline().items():
        assert found[name] == pytest.approx(wanted, rel=0.03, abs=0.002), (name, found, offline())


def described(bank: RecordingBank) -> RecordingBank:
    describe_items(bank, catalogue(source()))
    return bank


@pytest.mark.parametrize("partitions", [1, 2, 4])
def test_the_blend_is_as_good_with_several_owners_of_partitions_as_with_one(partitions: int) -> None:
    """User stages in batches of random size, each behind by a time of its own, each topic read ahead of the others now and then."""
    messages = told(first_events(EVENTS), partitions, seed=partitions)
    stage = learnt(merged(messages, partitions), described(RecordingBank()))
    assert stage.events == EVENTS
    assert recall_of(stage.report(0))["blend"] == pytest.approx(offline()["blend"], rel=0.02)


def test_messages_in_the_order_of_arrival_would_be_noticed() -> None:
    """Without the merge, what is learnt is far from the order of the events: or the tests above could not fail."""
    events = first_events(EVENTS)
    order = {event.value["event_id"]: number for number, event in enumerate(events)}
    assert len(order) == EVENTS
    messages = told(events, 4, seed=4)
    assert inversions(merged(messages, 4)) == 0
    assert inversions(unmerged(messages)) > EVENTS / 10


def inversions(parts: Iterable[Merged]) -> int:
    """Rows that come later than a newer one."""
    times = np.concatenate([part.timestamps for part in parts])
    return int((times < np.maximum.accumulate(times)).sum())


@pytest.mark.parametrize("partitions", [1, 4])
def test_a_scrambled_future_changes_no_rank_of_the_past(partitions: int) -> None:
    """Later events with other items, merged and learnt in the same batches as the earlier ones: every earlier answer stays."""
    events, past = first_events(3000), 1200
    items = [event.value["item_id"] for event in events[past:]]
    random.Random(1).shuffle(items)
    future = [event._replace(value={**event.value, "item_id": item}) for event, item in zip(events[past:], items, strict=True)]
    answers = []
    for stream in (events, events[:past] + future):
        bank = RecordingBank()
        learnt(merged(told(stream, partitions, seed=2), partitions), bank)
        answers.append(bank.before(events[past].timestamp_ms))
    assert len(answers[0]) > past / 3
    assert answers[0] == answers[1]
