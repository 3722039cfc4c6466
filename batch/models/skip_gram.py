"""Skip-gram with negative sampling over sequences of codes: of items in sessions, or of words in texts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
from numpy.typing import NDArray

from batch.datasets.interactions import I64
from batch.datasets.negatives import Sampler


class Corpus(NamedTuple):
    """N codes in their order.

    Attributes:
        codes: int64[N], each below `size`. segments: int64[N], which session or text each belongs to, not falling.
        size: how many codes there are.
    """

    codes: I64
    segments: I64
    size: int

    @property
    def counts(self) -> I64:
        """How often each code occurs: int64[size]."""
        return np.bincount(self.codes, minlength=self.size)


def kept_shares(counts: I64, threshold: float) -> NDArray[np.float64]:
    """How many of a code's occurrences are kept: min(1, sqrt(threshold / f)), f its share of all (Mikolov et al., 2013).

    >>> kept_shares(np.array([96, 4, 0]), 0.04).round(3).tolist()
    [0.204, 1.0, 1.0]
    """
    shares = counts / max(counts.sum(), 1)
    return np.asarray(np.sqrt(threshold / np.maximum(shares, threshold)), np.float64)


def pairs(corpus: Corpus, window: int, threshold: float, rng: np.random.Generator) -> tuple[I64, I64]:
    """(centres, contexts) of one pass: both directions of every two codes of a segment that are at most `window` apart.

    Frequent codes are thinned out first, see `kept_shares`. Two codes that are k apart are kept in (window + 1 - k) of `window`
    passes, as word2vec does by drawing the width of each window.
    """
    kept = rng.random(len(corpus.codes)) < kept_shares(corpus.counts, threshold)[corpus.codes]
    codes, segments = corpus.codes[kept], corpus.segments[kept]
    found: list[tuple[I64, I64]] = []
    for apart in range(1, window + 1):
        same = (segments[apart:] == segments[:-apart]) & (codes[apart:] != codes[:-apart])
        same &= rng.random(len(same)) < (window + 1 - apart) / window
        before, after = codes[:-apart][same], codes[apart:][same]
        found += [(before, after), (after, before)]
    centres, contexts = (np.concatenate(side) for side in zip(*found, strict=True))
    return centres, contexts


class SkipGram(keras.Model):  # type: ignore[misc]
    """(centres [B], contexts [B, 1 + n], the first of each row true) -> logits [B, 1 + n] = centre vector . context vector."""

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.centres = keras.layers.Embedding(size, width, embeddings_initializer=_small(width), name="centres")
        self.contexts = keras.layers.Embedding(size, width, embeddings_initializer=_small(width), name="contexts")

    def call(self, inputs: dict[str, Any]) -> Any:
        """See the class."""
        return keras.ops.einsum("bd,bnd->bn", self.centres(inputs["centres"]), self.contexts(inputs["contexts"]))


def _small(width: int) -> Any:
    return keras.initializers.RandomUniform(-0.5 / width**0.5, 0.5 / width**0.5)


def negative_sampling(targets: Any, logits: Any) -> Any:
    """- log s(true) - sum over the drawn of log s(-drawn), s the logistic function: [B]; targets: 1 for true, 0 for drawn."""
    signs = 2 * targets - 1
    return keras.ops.sum(keras.ops.softplus(-signs * logits), axis=-1)


def network(size: int, width: int, rate: float) -> SkipGram:
    """Untrained, compiled, with its weights."""
    made = SkipGram(size, width)
    made({"centres": np.zeros(1, np.int64), "contexts": np.zeros((1, 2), np.int64)})
    made.compile(keras.optimizers.Adam(rate), negative_sampling)
    return made


class Passes(NamedTuple):
    """A corpus as training steps.

    Attributes:
        negatives: codes drawn by count ** 0.75 for each pair. batch: pairs a step.
    """

    corpus: Corpus
    window: int
    threshold: float
    negatives: int
    batch: int
    seed: int

    def epoch(self, number: int) -> Iterator[tuple[dict[str, I64], NDArray[np.float32]]]:
        """The batches of an epoch."""
        rng = np.random.default_rng([self.seed, number])
        centres, contexts = pairs(self.corpus, self.window, self.threshold, rng)
        sampler = Sampler(self.corpus.counts, 0.75)
        order = rng.permutation(len(centres))
        for start in range(0, len(order), self.batch):
            at = order[start : start + self.batch]
            drawn = sampler.draw(rng, len(at) * self.negatives).items.reshape(len(at), self.negatives)
            targets = np.zeros((len(at), 1 + self.negatives), np.float32)
            targets[:, 0] = 1
            yield {"centres": centres[at], "contexts": np.column_stack((contexts[at], drawn))}, targets
