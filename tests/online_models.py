"""Streams and checks for the online models: what every one of them is told, and what is asked of its state."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.events import EventType
from stream_workers.models.online.bank import ModelBank
from stream_workers.models.online.columns import History, Interactions
from stream_workers.models.online.interface import OnlineModel, UserState
from stream_workers.models.online.settings import BankSettings
from stream_workers.models.online.single_factors import FACTOR_MODELS
from stream_workers.models.online.single_models import COUNTING_MODELS
from stream_workers.models.online.single_others import Blended, PredictedRatings

Array = NDArray[Any]
START = 1_600_000_000_000
MINUTE = 60_000
CLASSES: dict[str, Callable[[BankSettings], OnlineModel]] = {
    one.name: one for one in (*COUNTING_MODELS, *FACTOR_MODELS, PredictedRatings, Blended)
}
SMALL = BankSettings(max_items=40, max_users=30, max_events=256, covisit_neighbours=8)
NONE = History(None, [], np.zeros(0, np.uint8), np.zeros(0, np.int64))
POPULAR = ("popularity_all_time", "popularity_decayed")


def told(
    rows: Sequence[tuple[str, str, int, int]], undo: Sequence[int] = (), values: Sequence[float] | None = None
) -> Interactions:
    """Events of (user, item, type, time); `undo`: which of them take back."""
    users, items, types, times = (list(column) for column in zip(*rows, strict=True)) if rows else ([], [], [], [])
    batch = Interactions.taken(users, items, np.array(times, np.int64), np.array(types, np.uint8))
    taken_back = np.isin(np.arange(len(rows)), undo)
    return batch._replace(undo=taken_back, values=batch.values if values is None else np.array(values, np.float32))


def mixed(events: int, seed: int = 1, users: int = 25, items: int = 40, start: int = START) -> Interactions:
    """Every kind of event, one a minute, some of them taken back."""
    rng = np.random.default_rng(seed)
    kinds = rng.choice([0, 1, 1, 1, 2, 3, 4, 4, 6, 7], size=events)
    what = np.minimum(rng.geometric(0.08, size=events), items)
    rows = [(f"u{rng.integers(users)}", f"i{what[n]}", int(kinds[n]), start + n * MINUTE) for n in range(events)]
    values = np.where(kinds == EventType.RATING, rng.integers(1, 6, size=events), np.nan)
    return told(rows, np.flatnonzero(rng.random(events) < 0.05).tolist(), values.tolist())


def cut(batch: Interactions, size: int) -> list[Interactions]:
    return [batch.part(start, start + size) for start in range(0, len(batch.users), size)]


def anybody(now: int = START + 10_000 * MINUTE) -> list[UserState]:
    """Somebody unknown, somebody known, somebody whose items nobody knows, somebody who is against something."""
    against = UserState("u2", ["i3", "i1"], np.array([EventType.DISLIKE, EventType.LIKE], np.uint8), np.array([now, now - 1]), now)
    return [
        UserState.clicked(None, [], now), UserState.clicked("u1", ["i1", "i2"], now),
        UserState.clicked("stranger", ["nothing", "i2", "i2"], now), against,
    ]  # fmt: skip


def answers(model: OnlineModel, now: int = START + 10_000 * MINUTE) -> list[Any]:
    items = [f"i{n}" for n in range(45)]
    return [(model.score(who, items).tolist(), model.candidates(who, 10)) for who in anybody(now)]


def differences(mine: Mapping[str, Array], theirs: Mapping[str, Array]) -> list[str]:
    """Names of the arrays that differ; units are worked out for every question, so asking changes them."""
    names = sorted((mine.keys() | theirs.keys()) - {"popularity.unit"})
    return [n for n in names if n not in mine or n not in theirs or not _equal(mine[n], theirs[n])]


def _equal(one: Array, other: Array) -> bool:
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


def copied(state: Mapping[str, Array]) -> dict[str, Array]:
    return {name: array.copy() for name, array in state.items()}


def unsound(model: OnlineModel) -> list[str]:
    """Names of the arrays with NaN or infinity. A landmark is NaN until its first event, a range of ratings is infinite."""
    state = model.state()
    numbers = [
        name for name, array in state.items() if array.dtype.kind == "f" and not name.endswith(("landmarks", "ratings.sums"))
    ]
    landmarks = [name for name, array in state.items() if name.endswith("landmarks") and np.isinf(array).any()]
    return [name for name in numbers if not np.isfinite(state[name]).all()] + landmarks


def two_tastes() -> tuple[Interactions, list[str], list[str]]:
    """Thirty people who take apples, ten who take pears, each kind but two of its twelve items; and whoever takes pears rates
    apples low. Returns the events, the pears that `pears0` has had and those that they have not, which is what they want."""
    rng = np.random.default_rng(4)
    rows: list[tuple[str, str, int, int]] = []
    values: list[float] = []
    wants: dict[str, list[str]] = {}
    kinds = [("apple", f"apples{n}") for n in range(30)] + [("pear", f"pears{n}") for n in range(10)]
    for kind, user in kinds:
        wants[user] = [f"{kind}{n}" for n in rng.permutation(12)]
    for step in range(90):  # often enough for ISGD, which starts slowly
        for kind, user in (kinds[at] for at in rng.permutation(len(kinds))):
            rows.append((user, wants[user][2 + step % 10], EventType.RATING, START + len(rows) * MINUTE))
            values.append(5.0 if kind == "pear" else 3.0)
    wanted = wants["pears0"]
    return told(rows, values=values), wanted[2:], wanted[:2]


def clicks(users: list[str], items: list[str], start: int = START) -> Interactions:
    return Interactions.taken(users, items, start + MINUTE * np.arange(len(users)))


def learn(bank: ModelBank, batch: Interactions) -> Any:
    return bank.advance(batch, batch.weights > 0)


def full_bank() -> ModelBank:
    """Forty items and twenty users, everything of which has something; no room for another item."""
    bank = ModelBank(SMALL)
    rng = np.random.default_rng(6)
    items = [f"i{n}" for n in range(40)] + [f"i{n}" for n in rng.integers(40, size=150)]
    for n in range(40):
        bank.describe(f"i{n}", [f"genre{n % 5}"], f"Film ({1980 + n})")
    learn(bank, clicks([f"u{n}" for n in rng.integers(20, size=190)], items))
    return bank
