"""`freshet evaluate diversity`: what the `diversity` knob costs, measured prequentially with the reranker that answers requests."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from evaluation.diversity_price import Answers, K, judged
from evaluation.intervals import Interval, paired_difference, time_blocked
from evaluation.prequential import Progress
from evaluation.protocol import Mode, in_time_order, questions, warm_up_events
from feature_store.catalogue import Catalogue
from ops.evaluate import Say, announce, compile_models
from ops.evaluate_source import Asked, CatalogueItem, Stream, catalogue, describe_items, open_stream
from schemas.errors import InvalidInput
from serving.interests import Interests
from serving.item_facts import ItemFacts
from serving.plan import Plan
from serving.reranker import CONSIDERED, Reranker
from serving.shelf import Shelf
from serving.surfaces import Diversity, Surface
from stream_workers.models.online.bank import ModelBank
from stream_workers.models.online.columns import History, Interactions
from stream_workers.models.online.settings import BankSettings

METHODS: Final = ("mmr", "dpp")
KNOBS: Final = tuple(round(0.1 * n, 1) for n in range(11))
PAST: Final = 100
"""Events of a user that a request knows, and that the calibration of its list is measured against."""
_CHUNK: Final = 2000
_BLEND: Final = ("blend",)


class Price(NamedTuple):
    """A finished measurement.

    Attributes:
        questions: asked. metrics: by method and metric, of each knob value.
        lost: by method, Recall@10 minus that with 0, on the same questions.
    """

    stream: Stream
    mode: Mode
    settings: BankSettings
    questions: int
    categories: int
    metrics: Mapping[str, Mapping[str, Interval]]
    lost: Mapping[str, Interval]
    seconds: float


def diversity_price(
    asked: Asked, data: Path | None, mode: Mode, settings: BankSettings, sample: int, say: Say, progress: Progress
) -> Price:
    """Replay a stream, and answer a sample of its questions with every method and value of the knob.

    Args:
        data: folder of the public data sets. sample: questions, drawn from those after the warm-up.
        say: takes one line for a person. progress: is told (events done, events in all).

    Raises:
        InvalidInput: no such source, bad data, a catalogue without categories, or no question.
    """
    begun = time.monotonic()
    stream = open_stream(asked, data)
    announce(stream, say)
    items = catalogue(stream.source)
    batch = in_time_order(stream.interactions())
    ranked, rng = questions(batch, mode), np.random.default_rng(settings.seed)
    chosen = _sample(ranked, sample, rng)
    codes = {item: code for code, item in enumerate(dict.fromkeys([*(one.item_id for one in items), *batch.items]))}
    features = _features(items, codes)
    if not features.any() or not len(chosen):
        raise InvalidInput(f"{asked.source}: diversity needs items with categories, and events after the warm-up")
    compile_models(settings, batch, say)
    bank = ModelBank(settings)
    describe_items(bank, items)
    facts = _facts(items)
    rerankers = [_reranker(facts, method, knob) for method in METHODS for knob in KNOBS]
    answers = _answered(_Replay(bank, batch, ranked, codes), chosen, rerankers, progress)
    metrics, lost = _judged(answers, features, rng)
    return Price(stream, mode, settings, len(chosen), features.shape[1], metrics, lost, time.monotonic() - begun)


def _sample(ranked: NDArray[np.bool_], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    warm_up = warm_up_events(len(ranked))
    counting = np.flatnonzero(ranked[warm_up:]) + warm_up
    return np.sort(rng.choice(counting, min(count, len(counting)), replace=False))


def _features(items: Sequence[CatalogueItem], codes: Mapping[str, int]) -> NDArray[np.float64]:
    """float64[items, categories], 1 where an item has a category."""
    names = {name: at for at, name in enumerate(sorted({name for one in items for name in one.categories}))}
    found = np.zeros((len(codes), len(names)))
    for one in items:
        found[codes[one.item_id], [names[name] for name in one.categories]] = 1.0
    return found


def _facts(items: Iterable[CatalogueItem]) -> ItemFacts:
    known = Catalogue()
    for one in items:
        known.apply(None, orjson.dumps({"item_id": one.item_id, "categories": one.categories}))
    return ItemFacts(Shelf(known, asyncio.Event()))


def _reranker(facts: ItemFacts, method: Any, knob: float) -> Reranker:
    """What a request with `diversity` as its only wish is answered with."""
    plan = Plan(K, surface=Surface(diversity=Diversity(method=method)), plain=False, diversity=knob)
    return Reranker(plan, Interests(), facts, {})


class _Replay:
    """A stream that is learnt as far as it was asked for."""

    def __init__(self, bank: ModelBank, batch: Interactions, ranked: NDArray[np.bool_], codes: Mapping[str, int]) -> None:
        self.bank, self.batch, self.codes = bank, batch, codes
        self._ranked, self._weights = ranked, batch.weights
        self._done = 0
        self._past: dict[str, deque[int]] = defaultdict(lambda: deque(maxlen=PAST))
        self.counts = np.zeros(len(codes))

    def learn_to(self, end: int) -> None:
        """Learn events up to number end - 1, the blend from its own predictions."""
        for start in range(self._done, end, _CHUNK):
            stop = min(start + _CHUNK, end)
            self.bank.advance(self.batch.part(start, stop), self._ranked[start:stop], _BLEND)
        for e in range(self._done, end):
            self._note(e)
        self._done = end

    def _note(self, e: int) -> None:
        """What a user stage keeps of an event: the newest events of each user, without those that were taken back."""
        batch, past = self.batch, self._past[self.batch.users[e]]
        if batch.undo[e]:
            undone = (one for one in past if (batch.items[one], batch.types[one]) == (batch.items[e], batch.types[e]))
            if (gone := next(undone, None)) is not None:
                past.remove(gone)
            return
        past.appendleft(e)
        self.counts[self.codes[batch.items[e]]] += self._weights[e] > 0

    def history(self, user: str) -> History:
        """The newest events of a user, as a request reads them."""
        past = list(self._past[user])
        items = [self.batch.items[e] for e in past]
        return History(user, items, self.batch.types[past], self.batch.timestamps[past])

    def profile(self, user: str) -> list[int]:
        """Codes of the items that the user took, the newest first."""
        taken = (self.codes[self.batch.items[e]] for e in self._past[user] if self._weights[e] > 0)
        return list(dict.fromkeys(taken))


def _answered(replay: _Replay, chosen: NDArray[np.int64], rerankers: Sequence[Reranker], progress: Progress) -> Answers:
    lists = np.full((len(rerankers), len(chosen), K), -1, np.int64)
    profiles = np.full((len(chosen), PAST), -1, np.int64)
    popularity = np.zeros((len(rerankers), len(chosen)))
    batch, codes = replay.batch, replay.codes
    for q, e in enumerate(chosen.tolist()):
        replay.learn_to(e)
        user = batch.users[e]
        proposal = replay.bank.recommend(replay.history(user), int(batch.timestamps[e]), CONSIDERED)
        candidates = list(zip(proposal.items, proposal.scores.tolist(), strict=True))
        for s, reranker in enumerate(rerankers):
            shown = [codes[item] for item, _ in reranker.order(candidates, {}, K)]
            lists[s, q, : len(shown)] = shown
            popularity[s, q] = replay.counts[shown].mean() if shown else 0.0
        past = replay.profile(user)
        profiles[q, : len(past)] = past
        progress(e, len(batch.users))
    targets = np.array([codes[batch.items[e]] for e in chosen.tolist()], np.int64)
    return Answers(lists, targets, profiles, popularity)


def _judged(
    answers: Answers, features: NDArray[np.float64], rng: np.random.Generator
) -> tuple[dict[str, dict[str, Interval]], dict[str, Interval]]:
    metrics, lost = dict[str, dict[str, Interval]](), dict[str, Interval]()
    for m, method in enumerate(METHODS):
        mine = slice(m * len(KNOBS), (m + 1) * len(KNOBS))
        values = judged(answers._replace(lists=answers.lists[mine], popularity=answers.popularity[mine]), features)
        metrics[method] = {name: time_blocked(columns, rng) for name, columns in values.items()}
        hits = values["recall@10"]
        lost[method] = paired_difference(hits, np.repeat(hits[:, :1], len(KNOBS), axis=1), rng)
    return metrics, lost


def as_document(done: Price) -> dict[str, Any]:
    """Everything as the one JSON document of `--json`."""
    return {
        "dataset": done.stream.name,
        "mode": done.mode,
        "seed": done.settings.seed,
        "questions": done.questions,
        "categories": done.categories,
        "candidates": CONSIDERED,
        "knobs": list(KNOBS),
        "methods": {
            method: {name: _interval(one) for name, one in metrics.items()} | {"recall@10_minus_none": _interval(done.lost[method])}
            for method, metrics in done.metrics.items()
        },
        "seconds": round(done.seconds, 3),
    }


def _interval(one: Interval) -> dict[str, list[float]]:
    return {"mean": one.mean.tolist(), "low": one.low.tolist(), "high": one.high.tolist()}
