"""item2vec: items that are taken near each other get vectors near each other; text gives vectors to the others."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Final

import numpy as np

from batch.datasets.interactions import F32, I64, Catalogue, InteractionLog, enough_to_learn
from batch.models.interface import Entries, OneOf, Space, Span, Watch
from batch.models.keras_model import KerasModel, as_numpy
from batch.models.skip_gram import Corpus, Passes, SkipGram, network
from batch.models.training import begin, train_keras
from schemas.errors import InvalidInput
from stream_workers.models.deep.item_vectors import ItemVectorScorer
from stream_workers.models.deep.vectors import UNKNOWN_BIAS
from stream_workers.models.online.content_tokens import tokens_of

_MS_PER_HOUR: Final = 3_600_000
_MOST_TOKENS: Final = 32
_TEXT_EPOCHS: Final = 5
_RIDGE: Final = 1.0


@dataclass(frozen=True, kw_only=True)
class Item2Vec(KerasModel):
    """Skip-gram with negative sampling on the items of sessions, and on the words, categories and tags of items.

    Loss of a pair (i, j): -log s(v_i . w_j) - sum of `negatives` drawn n of log s(-v_i . w_n). A session ends after `session_hours`
    without an event; 0: a user's history is one. An item that nobody took has the vector that a ridge regression of v (and w)
    on the mean of its words' vectors gives. Barkan and Koenigstein, "Item2Vec", MLSP 2016; Mikolov et al., NeurIPS 2013.

    Attributes:
        width: d. window: items on each side. threshold: of the thinning of frequent items, see `kept_shares`.
        half_life, longest: how the user's history is averaged, see `ItemVectorScorer`.
        popularity: what log(1 + count) adds to an item's score; the vectors alone say how much more often than by chance.
    """

    width: int = 64
    window: int = 5
    negatives: int = 5
    threshold: float = 0.001
    session_hours: float = 0.0
    half_life: float = 3.0
    longest: int = 20
    popularity: float = 0.5
    batch: int = 4096
    rate: float = 0.005

    name: ClassVar[str] = "item2vec"
    space: ClassVar[Space] = {
        "width": OneOf((32, 64, 128)), "window": Span(2, 10), "negatives": Span(3, 15), "popularity": Span(0.0, 1.0),
        "half_life": Span(1.0, 10.0, log=True), "rate": Span(0.001, 0.02, log=True),
    }  # fmt: skip

    def fit(self, train: InteractionLog, later: InteractionLog, *, seed: int, watch: Watch = Watch()) -> ItemVectorScorer:  # noqa: B008
        """See `BatchModel`."""
        sessions = sessions_of(enough_to_learn(train), self.session_hours)
        if np.all(np.diff(sessions.segments) != 0):
            raise InvalidInput(f"{self.name}: no session of {train.size} events has two; it learns what is taken together")
        begin(seed)
        texts = self._text_vectors(train.catalogue, seed)
        vectors = network(sessions.size, self.width, self.rate)
        make = partial(self._scorer, vectors, texts, train.item_counts)
        items = Entries(0, train.catalogue.ids)
        speaks = [(side.embeddings, items) for side in (vectors.centres, vectors.contexts)]
        return self.trained(vectors, self._passes(sessions, seed).epoch, make, (train, later), seed, watch, speaks)

    def _passes(self, corpus: Corpus, seed: int) -> Passes:
        threshold = max(self.threshold, 2 / corpus.size)  # what has at most twice an even share is no frequent code
        return Passes(corpus, self.window, threshold, self.negatives, self.batch, seed)

    def _text_vectors(self, catalogue: Catalogue, seed: int) -> F32:
        """The mean vector of each item's words: float32[P, d], 0 where an item has none that another has too."""
        corpus = texts_of(catalogue)
        if len(corpus.codes) < 2 or np.all(np.diff(corpus.segments) != 0):
            return np.zeros((catalogue.size, self.width), np.float32)
        words = network(corpus.size, self.width, self.rate)
        train_keras(words, self._passes(corpus, seed).epoch, None, epochs=_TEXT_EPOCHS, patience=1)
        total = np.zeros((catalogue.size, self.width), np.float32)
        np.add.at(total, corpus.segments, as_numpy(words.centres.embeddings)[corpus.codes])
        counts = np.maximum(np.bincount(corpus.segments, minlength=catalogue.size), 1)
        return np.asarray(total / counts[:, None], np.float32)

    def _scorer(self, vectors: SkipGram, texts: F32, counts: I64) -> ItemVectorScorer:
        known = counts > 0
        centres, contexts = (by_text(as_numpy(side.embeddings), texts, known) for side in (vectors.centres, vectors.contexts))
        bias = (self.popularity * np.log1p(counts)).astype(np.float32)
        speechless = ~known & ~texts.any(axis=1)
        return ItemVectorScorer(centres, contexts, np.where(speechless, UNKNOWN_BIAS, bias), self.half_life, self.longest)


def sessions_of(log: InteractionLog, hours: float) -> Corpus:
    """The items of each user in time order, a new segment after `hours` without an event (0: never)."""
    order = np.argsort(log.users, kind="stable")
    users, times = log.users[order], log.timestamps[order]
    begins = users[1:] != users[:-1]
    if hours:
        begins |= np.diff(times) > hours * _MS_PER_HOUR
    segments = np.concatenate(([0], np.cumsum(begins)))
    return Corpus(log.items[order], segments, log.catalogue.size)


def texts_of(catalogue: Catalogue) -> Corpus:
    """The words, categories and tags of each item, those that two items or more have; the segment is the item's row."""
    columns = zip(catalogue.categories, catalogue.tags, catalogue.titles, strict=True)
    found = [tokens_of(categories, tags, title, _MOST_TOKENS) for categories, tags, title in columns]
    tokens = [token for row in found for token in row]
    segments = np.repeat(np.arange(catalogue.size), [len(row) for row in found])
    _, codes, counts = np.unique(np.array(tokens, str), return_inverse=True, return_counts=True)
    shared = counts > 1
    kept = shared[codes]
    return Corpus((np.cumsum(shared) - 1)[codes[kept]], segments[kept], max(int(shared.sum()), 1))


def by_text(vectors: F32, texts: F32, known: Any) -> F32:
    """The vectors of known items; for the others what a ridge regression on the known ones expects from their text.

    W = (T'T + l I)^-1 T'V over known items; vector = t W.
    """
    features = np.column_stack((texts, texts.any(axis=1))).astype(np.float64)
    gram = features[known].T @ features[known] + _RIDGE * np.eye(features.shape[1])
    expected = features @ np.linalg.solve(gram, features[known].T @ vectors[known])
    return np.where(known[:, None], vectors, expected.astype(np.float32))
