"""What the state must be, computed from the produced events alone, in the plainest way: shares no code with the worker."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from typing import NamedTuple

import orjson

from tests.live import Live, Record

TYPES = ["view", "click", "like", "dislike", "rating", "add_to_cart", "purchase", "hide"]
START = 1_700_000_000_000


class Made(NamedTuple):
    """One produced event."""

    user: str
    item: str
    type: str
    timestamp: int
    event_id: str | None
    misplaced: bool

    def record(self) -> Record:
        topic = {"view": "views", "click": "clicks"}.get(self.type, "feedback")
        fields = {"user_id": self.user, "item_id": self.item, "timestamp": self.timestamp}
        if self.event_id:
            fields["event_id"] = self.event_id
        if topic == "feedback":
            fields["type"] = self.type
        return topic, self.user, orjson.dumps(fields)


def make_events(count: int, users: int, items: int, seed: int, duplicates: float = 0.05, misplaced: float = 0.01) -> list[Made]:
    """Events of all types; some late, some twice (same event id), some on the wrong partition. No two have the same time."""
    rng = random.Random(seed)
    start = START + seed * 1_000_000_000  # streams of different seeds do not share a time
    made: list[Made] = []
    for n in range(count):
        if made and rng.random() < duplicates and made[-1].event_id:
            again = made[rng.randrange(max(0, len(made) - 500), len(made))]
            if again.event_id:
                made.append(again)
                continue
        kind = rng.choices(TYPES, [30, 50, 5, 2, 5, 4, 3, 1])[0]
        late = rng.randrange(0, 3_600_000) if rng.random() < 0.05 else 0
        made.append(
            Made(
                f"u{int(users * rng.random() ** 2)}", str(1_000_000 + int(items * rng.random() ** 3)), kind,
                start + 1000 * n - late + n % 1000, f"{seed}-{n}" if rng.random() < 0.7 else None, rng.random() < misplaced,
            )
        )  # fmt: skip
    return made


def produce(live: Live, events: list[Made]) -> None:
    """Write the events; the misplaced ones to a partition that is not their user's."""
    from schemas.ids import partition_of

    partitions = live.settings.partitions
    wrong = [e.record() for e in events if e.misplaced]
    live.produce(e.record() for e in events if not e.misplaced)
    live.produce(wrong, lambda record: (partition_of(record[1] or "", partitions) + 1) % partitions)


def check(live: Live, events: list[Made]) -> int:
    """Compare every counter and every history with the store, bit for bit; returns how many users and items were compared."""
    seen: set[tuple[str, str]] = set()
    users: dict[str, list[Made]] = defaultdict(list)
    items: dict[str, Counter[str]] = defaultdict(Counter)
    for e in events:
        if e.event_id is not None:
            if (e.user, e.event_id) in seen:
                continue
            seen.add((e.user, e.event_id))
        users[e.user].append(e)
        items[e.item][e.type] += 1
    for user, taken in users.items():
        state = live.user(user)
        assert state is not None, f"user {user} is missing"
        assert state.counts == [sum(e.type == kind for e in taken) for kind in TYPES], f"counts of {user}"
        newest = sorted(taken, key=lambda e: -e.timestamp)[: live.settings.history_length]
        found = [(h.item_id, TYPES[h.type], h.timestamp) for h in state.history]
        assert found == [(e.item, e.type, e.timestamp) for e in newest], f"history of {user}"
    for item, counts in items.items():
        item_state = live.item(item)
        assert item_state is not None, f"item {item} is missing"
        assert item_state.counts == [counts[kind] for kind in TYPES], f"counts of item {item}"
    return len(users) + len(items)
