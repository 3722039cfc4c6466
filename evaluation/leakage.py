"""The leakage check: nothing that happens later may change an answer given now."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from evaluation.prequential import CHUNK, Bank
from evaluation.protocol import Mode, questions, taken_in_order
from stream_workers.models.online.columns import Interactions, Outcome


def scrambled_after(batch: Interactions, event: int, rng: np.random.Generator) -> Interactions:
    """The same stream with another future: users, items and kinds of the events after `event` are shuffled among each other.

    Each column is shuffled on its own, every third later item becomes one that was never seen, and the later moments are drawn anew
    between the first and the last of them. Everything up to `event` stays.
    """
    count = len(batch.users)
    later = np.arange(event + 1, count)

    def shuffled() -> NDArray[np.int64]:
        return np.concatenate((np.arange(event + 1), rng.permutation(later)))

    whole = taken_in_order(batch, shuffled())
    items = taken_in_order(batch, shuffled()).items
    for place in later[::3].tolist():
        items[place] = f"never seen {place}"
    times = batch.timestamps.copy()
    if len(later):
        times[later] = np.sort(rng.integers(times[event], times[-1] + 1, size=len(later)))
    return whole._replace(users=taken_in_order(batch, shuffled()).users, items=items, timestamps=times)


ANSWERS: Final = tuple(name for name in Outcome._fields if name not in ("names", "moved"))


class Leak(NamedTuple):
    """An answer that depended on what came later: number of the event, column of `Outcome`."""

    event: int
    column: str


def first_leak(
    new_bank: Callable[[], Bank],
    batch: Interactions,
    mode: Mode,
    event: int,
    rng: np.random.Generator,
    chunk: int = CHUNK,
    columns: Sequence[str] = ANSWERS,
) -> Leak | None:
    """The first question up to `event` whose answer depends on what comes after `event`; None if there is none.

    Two new banks see the same past and different futures. Ranks, best lists and candidates must agree in every bit, even when past
    and future stand in one chunk.

    Args:
        new_bank: makes a bank that has learnt nothing; the same each time.
        batch: events in time order.
        event: number of the last event of the past.
        columns: of `Outcome`, what is compared.
    """
    told = _answers(new_bank(), batch, mode, event, chunk)
    other = _answers(new_bank(), scrambled_after(batch, event, rng), mode, event, chunk)
    for mine, its in zip(told, other, strict=True):
        for at in range(max(len(mine.events), len(its.events))):
            if column := _difference(mine, its, at, columns):
                return Leak(int(mine.events[at]) if at < len(mine.events) else event, column)
    return None


def _answers(bank: Bank, batch: Interactions, mode: Mode, event: int, chunk: int) -> list[Outcome]:
    """What the bank answers up to `event`; it is given whole chunks, so it could look ahead."""
    ranked, outcomes = questions(batch, mode), []
    for begun in range(0, min(event + 1, len(batch.users)), chunk):
        outcome = bank.advance(batch.part(begun, begun + chunk), ranked[begun : begun + chunk], bank.names)
        keep = outcome.events + begun <= event
        parts = {name: value[keep] for name, value in outcome._asdict().items() if name in ANSWERS}
        outcomes.append(outcome._replace(**{**parts, "events": outcome.events[keep] + begun}))
    return outcomes


def _difference(mine: Outcome, its: Outcome, at: int, columns: Sequence[str]) -> str | None:
    """The first column that differs in this row; None if none does."""
    if at >= len(mine.events) or at >= len(its.events):
        return "events"
    return next((name for name in columns if not np.array_equal(getattr(mine, name)[at], getattr(its, name)[at])), None)
