"""Events as they reach the learner from the owners of several user partitions, without servers: user stages, messages, merge."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from feature_store.catalogue import Catalogue
from ops.sources import SourceEvent
from schemas.events import Limits, parse_event
from schemas.ids import partition_of
from stream_workers.handlers.interaction_merge import InteractionMerge, Merged
from stream_workers.handlers.interactions import decode_interactions
from stream_workers.handlers.learning_stage import LearningStage
from stream_workers.handlers.settings import ModelSettings
from stream_workers.handlers.user_batch import UserBatch
from stream_workers.handlers.user_stage import UserStage
from stream_workers.models.online.bank import ModelBank
from stream_workers.models.online.columns import Interactions, Outcome

CHUNK = 2000


class Told(NamedTuple):
    """A message of the log: of which partition, where in it, and how many events had happened when it was written."""

    partition: int
    offset: int
    value: bytes
    after: int


def told(events: Sequence[SourceEvent], partitions: int, seed: int) -> list[Told]:
    """What the user stages write, each in batches of random size and each behind by a time of its own, in the order of arrival."""
    rng = random.Random(seed)
    messages: list[Told] = []
    owned: dict[int, list[tuple[int, SourceEvent]]] = defaultdict(list)
    for number, event in enumerate(events):
        owned[partition_of(event.key, partitions)].append((number, event))
    for partition, mine in owned.items():
        delay, after, offset = rng.randrange(2000), 0, 0
        stage, places = UserStage(partition, ModelSettings(partitions=partitions), Catalogue()), Counter[str]()
        for part in _batches(mine, rng):
            for value in _applied(stage, part, places):
                after = max(after, part[-1][0] + delay)
                messages.append(Told(partition, offset, value, after))
                offset += 1
    return sorted(messages, key=lambda message: (message.after, message.partition, message.offset))


def _batches(mine: Sequence[tuple[int, SourceEvent]], rng: random.Random) -> Iterator[list[tuple[int, SourceEvent]]]:
    """What a user stage that catches up reads at a time: of one topic more than of another."""
    topics = {topic: [pair for pair in mine if pair[1].topic == topic] for topic in {event.topic for _, event in mine}}
    while any(topics.values()):
        batch = []
        for topic in sorted(topics):
            size = rng.randint(0, 200)
            batch += topics[topic][:size]
            del topics[topic][:size]
        if batch:
            yield sorted(batch, key=lambda pair: pair[0])


def _applied(stage: UserStage, part: Iterable[tuple[int, SourceEvent]], places: Counter[str]) -> list[bytes]:
    batch = UserBatch()
    for number, event in part:
        parsed = parse_event(event.topic, orjson.dumps(event.value), event.timestamp_ms, Limits())
        batch.append(parsed, event.topic, places[event.topic], event.timestamp_ms + number, None)
        places[event.topic] += 1
    missing = stage.missing(batch)
    stage.load(missing, [None] * len(missing))
    return stage.apply(batch, 0).interactions


def merged(messages: Iterable[Told], partitions: int) -> Iterator[Merged]:
    """What the learner learns of these messages, in its order."""
    merge = InteractionMerge(range(partitions), {})
    for message in messages:
        merge.add(message.partition, message.offset, decode_interactions(message.value))
        yield from iter(lambda: merge.take(CHUNK), None)
    merge.release(merge.waiting())
    yield from iter(lambda: merge.take(CHUNK), None)


def unmerged(messages: Iterable[Told]) -> Iterator[Merged]:
    """What a learner would learn that took messages as they arrive."""
    for message in messages:
        yield from merged([message], message.partition + 1)


class RecordingBank(ModelBank):
    """Keeps the ranks of every question, in the order of learning."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.answers: list[tuple[int, str, str, tuple[int, ...]]] = []

    def advance(self, batch: Interactions, ranked: NDArray[np.bool_], *models: Any) -> Outcome:
        outcome = super().advance(batch, ranked, *models)
        rows = zip(outcome.events.tolist(), outcome.ranks.tolist(), strict=True)
        self.answers += [(int(batch.timestamps[at]), batch.users[at], batch.items[at], tuple(ranks)) for at, ranks in rows]
        return outcome

    def before(self, time_ms: int) -> list[tuple[int, str, str, tuple[int, ...]]]:
        """Of the questions about events before this time: time, user, item, ranks."""
        return [answer for answer in self.answers if answer[0] < time_ms]


def learnt(parts: Iterable[Merged], bank: ModelBank) -> LearningStage:
    """A learner after all of it, every event ranked."""
    stage = LearningStage(bank, 1.0, repeats=False)
    for part in parts:
        stage.apply(part)
    return stage
