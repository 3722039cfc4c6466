"""A made-up shop's stream of events: seeded, deterministic, with the traits that make real streams hard.

Popularity is Zipf-distributed and drifts, as every item rises and fades at its own pace; new items and new users keep arriving.
Each user has a few favourite categories. People come in sessions, more by day than by night, look at several things of one kind and
at companions of what they just saw, and sometimes click, like, fill the basket and buy. Made hour by hour, so memory stays flat.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ops.sources import JsonObject, RowFaults, SourceEvent
from ops.synthetic_catalogue import CATEGORIES, catalogue_entry
from schemas.errors import InvalidInput
from schemas.events import TOPIC_OF_TYPE, TYPE_CODES, TYPE_NAMES

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

START_MS: Final = 1_704_067_200_000  # 2024-01-01T00:00:00Z
HOUR_MS: Final = 3_600_000
SPAN_HOURS: Final = 14 * 24
OLD_ITEMS: Final = 0.7  # share of the catalogue that is there at the start; the rest arrives over the span
OLD_USERS: Final = 0.5
VIEWS_PER_SESSION: Final = 5.0
EVENTS_PER_VIEW: Final = 1.55  # measured: a view with the clicks, likes and purchases that follow from it
FOCUS: Final = 0.75  # share of a session's views in its own category
COMPANION: Final = 0.35  # share of views that follow the item seen just before to one that goes with it

_MOST: Final = {"events": 1_000_000_000, "users": 10_000_000, "items": 1_000_000, "seed": 2**63 - 1}


class Shape(NamedTuple):
    """How large a synthetic stream is, and which one."""

    events: int = 100_000
    users: int = 2_000
    items: int = 1_000
    seed: int = 1


class _Shop(NamedTuple):
    """What does not change over the stream. Items are numbered by category, users by the time they first come.

    Attributes:
        first_of: (categories + 1,) number of each category's first item.
        appeal: (items,) Zipf weight.
        born_hour, life_hours: (items,) when it appears, and how fast its appeal fades.
        companion: (items,) the item that goes with it.
        tastes: (users, categories) cumulative shares.
        activity: (users,) cumulative weights.
    """

    first_of: Ints
    appeal: Floats
    born_hour: Floats
    life_hours: Floats
    companion: Ints
    tastes: Floats
    activity: Floats


class _Hour(NamedTuple):
    """Events of one hour, as columns of equal length."""

    time_ms: Ints
    session: Ints
    user: Ints
    item: Ints
    type: Ints


def open_synthetic(parameters: str) -> SyntheticSource:
    """The stream for `events[,users[,items[,seed]]]`; what is left out has its default.

    Raises:
        InvalidInput: not whole numbers, or out of range.
    """
    given = [part.strip() for part in parameters.split(",")] if parameters else []
    if len(given) > len(Shape._fields):
        raise InvalidInput(f"synthetic:{parameters}: expected at most synthetic:events,users,items,seed")
    shape = Shape()._replace(**{name: _number(name, text) for name, text in zip(Shape._fields, given, strict=False) if text})
    return SyntheticSource(shape)


def _number(name: str, text: str) -> int:
    least = {"items": len(CATEGORIES), "seed": 0}.get(name, 1)
    number = int(text) if text.isdecimal() else -1
    if not least <= number <= _MOST[name]:
        raise InvalidInput(f"synthetic: {name}={text!r} must be a whole number from {least} to {_MOST[name]:,}")
    return number


class SyntheticSource:
    """A synthetic stream as a source. The same shape gives the same events, ids included."""

    licence = "made up by Freshet (ops/synthetic.py); no licence needed"

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._shop = _build_shop(shape)
        self.title = f"synthetic shop, seed {shape.seed}"
        self.count = shape.events
        self.faults = RowFaults()

    def items(self) -> Iterator[JsonObject]:
        """The whole catalogue; `created_at` says when an item first appears in the stream."""
        factors = np.random.default_rng([self._shape.seed, 2]).lognormal(0.0, 0.5, self._shape.items)
        category = np.searchsorted(self._shop.first_of, np.arange(self._shape.items), side="right") - 1
        for number in range(self._shape.items):
            created_ms = START_MS + int(self._shop.born_hour[number] * HOUR_MS)
            yield catalogue_entry(number, int(category[number]), created_ms, float(factors[number]))

    def users(self) -> Iterator[JsonObject]:
        """A profile for each user: their country and how they came."""
        rng = np.random.default_rng([self._shape.seed, 3])
        countries, channels = ("DE", "FR", "GB", "PL", "US"), ("search", "newsletter", "friend", "advert")
        country, channel = rng.integers(0, len(countries), self._shape.users), rng.integers(0, 4, self._shape.users)
        for number in range(self._shape.users):
            attributes = {"country": countries[country[number]], "channel": channels[channel[number]]}
            yield {"user_id": f"user-{number}", "attributes": attributes}

    def events(self) -> Iterator[SourceEvent]:
        """Exactly `count` events, oldest first."""
        shape = self._shape
        tag = f"syn-{shape.seed}-{shape.events}-{shape.users}-{shape.items}"
        made = 0
        for hour in _hours(shape, self._shop):
            for time_ms, session, user, item, kind in zip(*(column.tolist() for column in hour), strict=True):
                yield _to_event(f"{tag}-{made}", time_ms, session, user, item, TYPE_NAMES[kind])
                made += 1
                if made == shape.events:
                    return


def _to_event(event_id: str, time_ms: int, session: int, user: int, item: int, kind: str) -> SourceEvent:
    value: JsonObject = {
        "event_id": event_id,
        "user_id": f"user-{user}",
        "item_id": f"item-{item}",
        "timestamp": time_ms,
        "session_id": f"session-{session}",
    }
    topic = TOPIC_OF_TYPE[kind]
    if topic == "feedback":
        value["type"] = kind
    return SourceEvent(topic, value["user_id"], value, time_ms)


def _build_shop(shape: Shape) -> _Shop:
    rng = np.random.default_rng([shape.seed, 0])
    sizes = np.bincount(np.arange(shape.items) % len(CATEGORIES), minlength=len(CATEGORIES))
    first_of = np.concatenate(([0], np.cumsum(sizes)))
    rank = rng.permutation(shape.items) + 1
    arrives_later = rng.random(shape.items) > OLD_ITEMS
    arrives_later[first_of[:-1]] = False  # so that no category is ever empty
    tastes = rng.dirichlet(np.full(len(CATEGORIES), 0.2), shape.users)
    return _Shop(
        first_of=first_of,
        appeal=np.power(rank, -0.9, dtype=np.float64),
        born_hour=np.where(arrives_later, rng.uniform(0, SPAN_HOURS, shape.items), rng.uniform(-720, 0, shape.items)),
        life_hours=rng.lognormal(np.log(150), 1.0, shape.items),
        companion=_companions(rng, first_of),
        tastes=np.cumsum(tastes, axis=1),
        activity=np.cumsum(rng.pareto(1.3, shape.users) + 0.1),
    )


def _companions(rng: np.random.Generator, first_of: Ints) -> Ints:
    """For each item another of its category (itself where it is alone): a shuffled ring per category."""
    companion = np.empty(first_of[-1], np.int64)
    for first, end in pairwise(first_of):
        ring = rng.permutation(np.arange(first, end))
        companion[ring] = np.roll(ring, 1)
    return companion


def _hours(shape: Shape, shop: _Shop) -> Iterator[_Hour]:
    """Columns of each hour in time order, without end; what a session does in later hours waits for its hour."""
    rng = np.random.default_rng([shape.seed, 1])
    # A small stream is shorter instead of one session every few days.
    per_hour = max(1.0, shape.events / SPAN_HOURS / (VIEWS_PER_SESSION * EVENTS_PER_VIEW))
    waiting = _Hour(*(np.empty(0, np.int64) for _ in _Hour._fields))
    sessions_before, hour = 0, 0
    while True:
        by_day = 1 + 0.8 * np.sin((hour % 24 - 9) / 24 * 2 * np.pi)
        sessions = int(rng.poisson(per_hour * by_day))
        made = _sessions(rng, shop, hour, sessions, sessions_before)
        both = _Hour(*(np.concatenate(columns) for columns in zip(waiting, made, strict=True)))
        order = np.argsort(both.time_ms, kind="stable")
        due = int(np.searchsorted(both.time_ms[order], START_MS + (hour + 1) * HOUR_MS))
        yield _Hour(*(column[order[:due]] for column in both))
        waiting = _Hour(*(column[order[due:]] for column in both))
        sessions_before, hour = sessions_before + sessions, hour + 1


def _sessions(rng: np.random.Generator, shop: _Shop, hour: int, sessions: int, sessions_before: int) -> _Hour:
    """Everything that happens in the sessions that begin in this hour."""
    arrived = max(1, round(len(shop.activity) * min(1.0, OLD_USERS + (1 - OLD_USERS) * hour / SPAN_HOURS)))
    user = np.searchsorted(shop.activity[:arrived], rng.random(sessions) * shop.activity[arrived - 1])
    views = np.minimum(rng.geometric(1 / VIEWS_PER_SESSION, sessions), 40)
    of = np.repeat(np.arange(sessions), views)
    nth = np.arange(len(of)) - np.repeat(np.cumsum(views) - views, views)
    focus = _draw_category(rng, shop, user)
    category = np.where(rng.random(len(of)) < FOCUS, focus[of], _draw_category(rng, shop, user[of]))
    item = _draw_items(rng, shop, hour, category, nth)
    begin = START_MS + hour * HOUR_MS + rng.integers(0, HOUR_MS, sessions)
    dwell = np.minimum(rng.lognormal(np.log(25_000), 0.8, len(of)), 1_200_000).astype(np.int64)
    walked = np.cumsum(dwell) - dwell
    time_ms = begin[of] + walked - np.repeat(walked[np.cumsum(views) - views], views)
    seen = _Hour(time_ms, sessions_before + of, user[of], item, np.full(len(of), TYPE_CODES["view"]))
    return _with_reactions(rng, seen, category == focus[of])


def _draw_category(rng: np.random.Generator, shop: _Shop, user: Ints) -> Ints:
    """(n,) a category for each user, drawn from the user's tastes."""
    drawn = rng.random(len(user))[:, None] > shop.tastes[user]
    category: Ints = np.minimum(drawn.sum(axis=1), len(CATEGORIES) - 1)
    return category


def _draw_items(rng: np.random.Generator, shop: _Shop, hour: int, category: Ints, nth: Ints) -> Ints:
    """(n,) an item of each category by its appeal at this hour; some follow the item before to its companion."""
    weight = _appeal_at(shop, hour)
    total = np.concatenate(([0.0], np.cumsum(weight)))
    low, high = total[shop.first_of[category]], total[shop.first_of[category + 1]]
    drawn = np.searchsorted(total, low + rng.random(len(category)) * (high - low), side="right") - 1
    item = np.clip(drawn, shop.first_of[category], shop.first_of[category + 1] - 1)
    companion = shop.companion[np.roll(item, 1)]
    follows = (rng.random(len(item)) < COMPANION) & (nth > 0) & (weight[companion] > 0)
    chosen: Ints = np.where(follows, companion, item)
    return chosen


def _appeal_at(shop: _Shop, hour: int) -> Floats:
    """(items,) appeal now: none before an item appears, five times its usual while new, fading to a tenth."""
    age = hour - shop.born_hour
    faded = np.exp(-np.maximum(age, 0) / shop.life_hours)
    return np.where(age >= 0, shop.appeal * (0.1 + 0.9 * faded + 4 * faded**4), 0.0)


# What may follow: (type, after which type, chance, chance where it is not what the session is about, mean delay in ms).
_REACTIONS: Final = (
    ("click", "view", 0.45, 0.2, 4_000),
    ("like", "click", 0.12, 0.04, 15_000),
    ("add_to_cart", "click", 0.15, 0.05, 30_000),
    ("purchase", "add_to_cart", 0.45, 0.3, 240_000),
    ("dislike", "click", 0.01, 0.05, 10_000),
)


def _with_reactions(rng: np.random.Generator, views: _Hour, in_focus: NDArray[np.bool_]) -> _Hour:
    """The views and all that people do after them."""
    parts = {"view": (views, in_focus)}
    for kind, after, chance, chance_otherwise, delay_ms in _REACTIONS:
        cause, focused = parts[after]
        happens = rng.random(len(focused)) < np.where(focused, chance, chance_otherwise)
        chosen = _Hour(*(column[happens] for column in cause))
        delay = rng.exponential(delay_ms, len(chosen.user)).astype(np.int64) + 500
        code = np.full(len(delay), TYPE_CODES[kind])
        parts[kind] = (chosen._replace(time_ms=chosen.time_ms + delay, type=code), focused[happens])
    return _Hour(*(np.concatenate(columns) for columns in zip(*(part for part, _ in parts.values()), strict=True)))
