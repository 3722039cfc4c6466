"""What to ask somebody of whom nothing is known. Worked out beside the requests, from what the process has in memory already."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from time import monotonic
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serving.answers import Onboarding, OnboardingItem
from serving.blended import Follows
from serving.followed_model import FollowedModel
from serving.item_facts import ItemFacts
from serving.ranking.content_vectors import content_vectors
from serving.ranking.elicitation import expected, likeness, questions, values
from serving.ranking.reasons import FROM_CATALOGUE
from serving.shelf import Shelf
from serving.trending_lists import TrendingLists

log = logging.getLogger(__name__)

F64 = NDArray[np.float64]
MOST_QUESTIONS: Final = 50
_KEPT: Final = 4 * MOST_QUESTIONS  # some are sold out by the time they are asked about
_CONSIDERED: Final = 500  # of the most taken
_LOOKED_AT: Final = 4 * _CONSIDERED  # not all of which may be shown
_LOOK_SECONDS: Final = 1.0
_STALE_SECONDS: Final = 60.0


class Pool(NamedTuple):
    """Items that could be asked about.

    Attributes:
        basis: where they are from: `models`, `popularity` or `catalogue`; `nothing`: there are none.
        counts: float64[N], how often each was taken. vectors: float64[N, T], of who takes them, length 1 or 0.
    """

    basis: str
    items: Sequence[str]
    counts: F64
    vectors: F64


@dataclass(frozen=True)
class Question:
    """An item to ask about. share: of what people take, how much is like it; None: it is not known what people take."""

    item_id: str
    share: float | None


class OnboardingQuestions:
    """Keeps a list of questions up to date: at once when there is more to go by, else once a minute.

    Args:
        models: say how often items were taken and by whom. lists: say what is popular where there are no models.
    """

    def __init__(self, shelf: Shelf, lists: TrendingLists, models: Follows) -> None:
        self._shelf = shelf
        self._lists = lists
        self._models = models
        self._facts = ItemFacts(shelf)
        self._questions: list[Question] = []
        self._basis = "nothing"
        self._made_of: tuple[str, int] | None = None
        self._made_at = float("-inf")
        self._task: asyncio.Task[None] | None = None

    def answer(self, k: int) -> Onboarding:
        """The first k questions about what may be shown."""
        shown = islice((one for one in self._questions if self._shelf.may_show(one.item_id)), k)
        items = [self._told(rank, one) for rank, one in enumerate(shown, 1)]
        missing = "catalogue_unavailable" if self._shelf.missing else None
        return {"items": items, "basis": self._basis, "degraded": missing if self._known and items else "no_events"}

    async def refresh(self) -> None:
        """Work the questions out anew, in a thread."""
        self._made_of, self._made_at = self._material(), monotonic()
        pool = await asyncio.to_thread(self._pool)
        self._questions = await asyncio.to_thread(self._chosen, pool)
        self._basis = pool.basis

    def start(self) -> None:
        """Begin to follow what is known."""
        self._task = asyncio.create_task(self._follow(), name="onboarding")
        self._task.add_done_callback(_report)

    async def stop(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    @property
    def _known(self) -> bool:
        """Whether anything is known of what people take."""
        return self._basis in ("models", "popularity")

    async def _follow(self) -> None:
        while True:
            if self._material() != self._made_of or monotonic() - self._made_at > _STALE_SECONDS:
                await self.refresh()
            await asyncio.sleep(_LOOK_SECONDS)

    def _material(self) -> tuple[str, int]:
        """What there is to go by, and how much of a catalogue, roughly: a new list is due when it changes."""
        model = self._models.current
        known = "models" if model is not None and model.learnt else "popularity" if self._lists.overall().best else "catalogue"
        return known, len(self._shelf).bit_length()

    def _pool(self) -> Pool:
        """The most popular items that may be shown; where there are few, what the catalogue has beside them."""
        model = self._models.current
        pool = _learnt(model, self._shelf) if model is not None and model.learnt else self._popular()
        if len(pool.items) >= MOST_QUESTIONS:
            return pool
        known = set(pool.items)
        others = [item for item in self._shelf.newest if item not in known][: _CONSIDERED - len(known)]
        basis = pool.basis if pool.items else "catalogue" if others else "nothing"
        counts = np.concatenate((pool.counts, np.zeros(len(others))))
        vectors = np.vstack((pool.vectors, np.zeros((len(others), pool.vectors.shape[1]))))
        return Pool(basis, [*pool.items, *others], counts, vectors)

    def _popular(self) -> Pool:
        popularity = self._lists.overall().popularity
        order = np.argsort(-popularity.decayed[:, -1], kind="stable").tolist()
        shown = [row for row in order if self._shelf.may_show(popularity.items[row])][:_CONSIDERED]
        items = [popularity.items[row] for row in shown]
        return Pool("popularity", items, popularity.decayed[shown, -1], np.zeros((len(items), 0)))

    def _chosen(self, pool: Pool) -> list[Question]:
        if not pool.items:
            return []
        described = content_vectors([self._facts.terms(item) for item in pool.items])
        alike = likeness(described, pool.vectors)
        shares = expected(alike, pool.counts)
        order = questions(values(pool.counts, shares), alike, _KEPT).tolist()
        return [Question(pool.items[at], float(shares[at]) if pool.counts[at] > 0 else None) for at in order]

    def _told(self, rank: int, question: Question) -> OnboardingItem:
        item = question.item_id
        told: OnboardingItem = {
            "item_id": item,
            "rank": rank,
            "categories": [*self._shelf.categories_of(item)],
            "why": why(question),
        }
        title = self._shelf.title(item)
        if title is not None:
            told["title"] = title
        return told


def why(question: Question) -> str:
    """Why an item is asked about, in words.

    >>> why(Question("7", 0.482)), why(Question("8", None))
    ('popular, and 48% of what people take is like it', 'from the catalogue')
    """
    return FROM_CATALOGUE if question.share is None else f"popular, and {question.share:.0%} of what people take is like it"


def _learnt(model: FollowedModel, shelf: Shelf) -> Pool:
    """The most taken items that the models know, with their vectors.

    Without the lock of the models: no request should wait for this, and if they take a turn meanwhile, some numbers are a little
    newer than others.
    """
    table, state = model.bank.items, model.bank.state()
    counts = state["log.item_events"][: len(table)].astype(np.float64)
    taken = ((code, table.ids[code]) for code in _most(counts, _LOOKED_AT).tolist() if counts[code] > 0)
    shown = list(islice(((code, item) for code, item in taken if shelf.may_show(item)), _CONSIDERED))
    codes = np.array([code for code, _ in shown], np.int64)
    vectors = state["vectors.outward"][codes].astype(np.float64)
    return Pool("models", [item for _, item in shown], counts[codes], _directions(vectors))


def _most(counts: F64, k: int) -> NDArray[np.int64]:
    """int64[min(k, N)], the largest, largest first: all of a large catalogue need not be sorted for it."""
    top = np.argpartition(-counts, k)[:k] if k < len(counts) else np.arange(len(counts))
    return np.asarray(top[np.lexsort((top, -counts[top]))], np.int64)


def _directions(vectors: F64) -> F64:
    """Of length 1, without what all have in common: vectors of a popular catalogue all lean to one side."""
    centred = vectors - vectors.mean(axis=0) if len(vectors) else vectors
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.asarray(np.where(lengths > 1e-9, centred / np.maximum(lengths, 1e-9), 0.0), np.float64)


def _report(task: asyncio.Task[None]) -> None:
    """It ends only when it is told to; anything else would leave the questions to grow stale in silence."""
    if not task.cancelled() and task.exception() is not None:
        log.critical("%s ended", task.get_name(), exc_info=task.exception())
