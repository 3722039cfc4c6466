"""A tiny bank of two honest models for the tests of the protocol, and one that looks ahead."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from typer.testing import CliRunner, Result

from ops.cli import app
from stream_workers.models.online.columns import Interactions, Outcome
from stream_workers.models.online.id_table import IdTable

NAMES = ("popularity", "latest")


class SmallBank:
    """All-time popularity, and the items by their latest event."""

    names = NAMES

    def __init__(self, repeats: bool = False) -> None:
        self.items = IdTable()
        self.repeats = repeats
        self.asked_models: set[str] = set()
        self._counts: Counter[int] = Counter()
        self._latest: dict[int, int] = {}
        self._first: dict[int, int] = {}
        self._taken: dict[str, list[int]] = {}
        self._clock = 0

    def advance(self, batch: Interactions, ranked: Any, models: Collection[str]) -> Outcome:
        self.asked_models |= set(models)
        rows = []
        for at in range(len(batch.users)):
            if ranked[at]:
                rows.append(self._answer(batch, at))
            self.learn(batch, at)
        columns: list[Any] = list(zip(*rows, strict=True)) if rows else [()] * 10
        dtypes: list[Any] = [np.int64, np.int32, np.int32, np.int32, np.bool_, np.int32, np.int32, np.float64, np.int32, np.float32]
        made = [np.array(column, kind) for column, kind in zip(columns, dtypes, strict=True)]
        shapes = [(), (2,), (2, 20), (), (), (), (), (), (), (2,)]
        made = [column.reshape(len(rows), *shape) for column, shape in zip(made, shapes, strict=True)]
        return Outcome(made[0], NAMES, *made[1:])

    def learn(self, batch: Interactions, at: int) -> None:
        code = int(self.items.codes([batch.items[at]])[0])
        if batch.weights[at] <= 0:
            return
        self._clock += 1
        self._counts[code] += 1
        self._latest[code] = self._clock
        self._first.setdefault(code, int(batch.timestamps[at]))
        self._taken.setdefault(batch.users[at], []).append(code)

    def _answer(self, batch: Interactions, at: int) -> tuple[Any, ...]:
        code, taken = self.items.code(batch.items[at]), self._taken.get(batch.users[at], [])
        seen = [one for one in self._counts if self.repeats or one not in taken]
        ranks, tops, popular = [], [], []
        for scores in (self._counts, self._latest):
            best = sorted(seen, key=lambda one: (-scores[one], one))[:20]
            ranks.append(sum(scores[one] >= scores[code] for one in seen) if code in self._counts else 0)
            tops.append(best + [-1] * (20 - len(best)))
            popular.append(float(np.mean([self._counts[one] for one in best[:10]])) if best else 0.0)
        age = int(batch.timestamps[at]) - self._first.get(code, int(batch.timestamps[at]))
        known = self._counts.get(code, 0)
        return at, ranks, tops, len(seen), known > 0, len(taken), known, age, len(self._counts), popular


class PeekingBank(SmallBank):
    """Counts a whole batch before it answers: the future in the features."""

    def advance(self, batch: Interactions, ranked: Any, models: Collection[str]) -> Outcome:
        for at in range(len(batch.users)):
            code = int(self.items.codes([batch.items[at]])[0])
            self._counts[code] += 1
            self._latest.setdefault(code, 0)
        return super().advance(batch, ranked, models)


def stream(events: int, seed: int = 1, users: int = 20, items: int = 30) -> Interactions:
    """Clicks whose items are the likelier the lower their number, one a second."""
    rng = np.random.default_rng(seed)
    who, what = rng.integers(users, size=events), np.minimum(rng.geometric(0.1, size=events), items)
    times = 1_600_000_000_000 + 1000 * np.arange(events)
    return Interactions.taken([f"u{one}" for one in who], [f"i{one}" for one in what], times)


def freshet(*arguments: str | Path, **variables: str) -> Result:
    """Run a command line."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env=variables)


def write_csv(path: Path, events: int = 600, header: str = "user_id,item_id,timestamp") -> Path:
    """A file of the events of `stream`."""
    batch = stream(events)
    rows = [f"{u},{i},{t // 1000}" for u, i, t in zip(batch.users, batch.items, batch.timestamps.tolist(), strict=True)]
    path.write_text("\n".join([header, *rows]) + "\n")
    return path
