"""One complete state of the learner's models, as the API ranks with it, and how a bank comes to hold it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import compress
from threading import Lock
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from feature_store.model_pages import Index
from serving.ranking.seeds import Pairs, Seeds
from stream_workers.models.online.columns import WEIGHTS, History
from stream_workers.models.online.context_popularity import PREFIX, ContextPopularity
from stream_workers.models.online.id_table import IdTable
from stream_workers.models.scoring_bank import ScoringBank

NAME: Final = "online-1"
_NEVER: Final = -1  # the code of what a table does not have
State = Mapping[str, NDArray[Any]]


class LearnerModels(Protocol):
    """Has the newest complete state of the learner's models, however it comes by it."""

    @property
    def current(self) -> FollowedModel | None:
        """The models to rank with; None before the first have arrived."""

    @property
    def index(self) -> Index | None:
        """What the learner said of them."""

    @property
    def faults(self) -> int:
        """States that could not be used."""

    @property
    def seconds(self) -> float:
        """How often to refresh."""

    async def refresh(self) -> None:
        """Take over what is newer.

        Raises:
            StoreUnavailable: everything stays as it was.
        """


class FollowedModel:
    """A bank that nobody changes, and what a request needs to know of it.

    Args:
        bank: loaded; from now on it only recommends.
        version: of the state, counted by the learner.
        contexts: what is popular where; None: the learner does not say.
        lock: of the bank's working memory, where it shares that with another bank.

    Attributes:
        lock: held while the bank recommends: it has one working memory.
        retired: the bank is being made, or has become, another version; whoever has waited for the lock looks.
        newest_ms: event time of the newest event it learnt. The moment to rank at: decay is by event time, and a stream that is
            read again after years is as fresh as a live one.
    """

    def __init__(
        self, bank: ScoringBank, version: int, contexts: ContextPopularity | None = None, lock: Lock | None = None
    ) -> None:
        views = bank.state()
        settings = bank.settings
        self.bank = bank
        self.contexts = contexts
        self.lock = lock or Lock()
        bank.stand()
        self.retired = False
        self._holders = 0
        self.name = f"{NAME}@{version}"
        self.trained = bank.trained
        self.learnt = bank.learnt
        self.newest_ms = int(np.nan_to_num(views["popularity.newest"][0]))
        self._pairs = Pairs(
            views["pairs.neighbours"], views["pairs.weights"], views["pairs.filled"], views["pairs.mass"], settings.covisit_decay,
            settings.covisit_power_from,
        )  # fmt: skip
        self._landmark = float(np.nan_to_num(views["pairs.landmarks"][0], nan=self.newest_ms))

    def warm_up(self) -> None:
        """Rank once, so that no request waits for the compiler."""
        with self.lock:
            self.bank.recommend(History(None, [], np.zeros(0, np.uint8), np.zeros(0, np.int64)), self.newest_ms, 1)

    def hold(self) -> bool:
        """Keep the bank this version until `release`, for one answer of several steps; False: it is retired. On the event loop."""
        self._holders += 1  # first this, then the look: `retire`, in its thread, does the same the other way round
        if self.retired:
            self._holders -= 1
        return not self.retired

    def release(self) -> None:
        """The answer is made."""
        self._holders -= 1

    def retire(self) -> bool:
        """Let the bank become another version; False: somebody holds it, and it must stay."""
        self.retired = True
        if self._holders:
            self.retired = False
        return self.retired

    def knows(self, items: Sequence[str]) -> bool:
        """Whether any of the items was ever learnt."""
        return any(self.bank.items.code(item) >= 0 for item in items)

    def unheard_of(self, items: Iterable[str]) -> Iterator[str]:
        """Those of the items that were never learnt. All are looked up at once: most often none of hundreds is new."""
        asked = list(items)
        return compress(asked, map(_NEVER.__eq__, self.bank.items.known(asked)))

    def remembers(self, user_id: str | None) -> bool:
        """Whether anything was learnt from this person."""
        return user_id is not None and self.bank.users.code(user_id) >= 0

    def seeds(self, history: History, moment: int) -> tuple[list[str], Seeds]:
        """The last different items taken, and what they say for others."""
        taken = [item for item, weight in zip(history.items, WEIGHTS[history.types], strict=True) if weight > 0]
        codes = {item: code for item in dict.fromkeys(taken) if (code := self.bank.items.code(item)) >= 0}
        past = list(codes)[: self.bank.settings.covisit_depth]
        exponent = (moment - self._landmark) / self.bank.settings.covisit_half_life
        unit = 2.0 ** min(1000.0, max(0.0, exponent))
        return past, Seeds(self._pairs, np.array([codes[item] for item in past], np.int64), unit)


def contexts_in(state: State) -> ContextPopularity | None:
    """A copy of what is popular where; None: the state does not have it.

    Raises:
        ValueError: it is of another version.
    """
    arrays = {name.removeprefix(PREFIX): array for name, array in state.items() if name.startswith(PREFIX)}
    if not arrays:
        return None
    contexts = ContextPopularity()
    contexts.load(arrays)
    return contexts


def bring_up(bank: ScoringBank, held: Index | None, index: Index, state: State) -> None:
    """Make the bank hold this state.

    Pages that are the same in what it holds are left alone: copying them all would keep a core busy. Only where an array has
    another shape (the catalogue has outgrown it) or ids were replaced is everything loaded anew.

    Args:
        held: the index of what the bank holds now; None: nothing of use.

    Raises:
        InvalidSettings: the state is of models with other settings or of another version.
    """
    if held is None or not _patched(bank, held, index, state):
        bank.load(state)


def _patched(bank: ScoringBank, held: Index, index: Index, state: State) -> bool:
    """Copy the changed pages into the bank's arrays; False: that is not possible, and some may have been copied already."""
    if held.epoch != index.epoch or held.origin != index.origin:
        return False
    tables = {"items": bank.items, "users": bank.users}
    for name, mine in bank.state().items():
        table, _, part = name.partition(".")
        if part in ("text", "ends") and table in ("items", "users", "categories"):
            continue  # they only grow: below; requests do not need the names of categories
        if name not in state or state[name].shape != mine.shape or state[name].dtype != mine.dtype:
            return False
        _copy_pages(name, held, index, state[name], mine)
    return all(extended(table, name, state) for name, table in tables.items())


def _copy_pages(name: str, held: Index, index: Index, source: NDArray[Any], target: NDArray[Any]) -> None:
    rows = index.layouts[name].page_rows
    for page in np.flatnonzero(index.pages[name].changed > held.commit).tolist():
        target[page * rows : (page + 1) * rows] = source[page * rows : (page + 1) * rows]


def extended(table: IdTable, name: str, state: State) -> bool:
    """Give the new ids their codes; False: the old ones are not what the table has."""
    mine, known = table.state(name), len(table)
    for part, array in mine.items():
        if not np.array_equal(state[part][: len(array)], array):
            return False
    ends = state[f"{name}.ends"][known:].tolist()
    start = len(mine[f"{name}.text"])
    text = state[f"{name}.text"][start:].tobytes()
    added = [text[a - start : b - start].decode() for a, b in zip([start, *ends], ends, strict=False)]
    table.codes(added)
    return len(table) == known + len(added)
