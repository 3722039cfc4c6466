"""What is known of items as numbers: vectors of their names and words, and their numbers on one scale. No click is looked at."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import svds
from scipy.special import ndtri

from batch.slates.columns import F64, ItemContent

DIMENSIONS: Final = 64
_PRIOR_DIMENSIONS: Final = 32
_PRIOR_SCALE: Final = 2.0
_WORD: Final = re.compile(r"\w+")
Bags = Sequence[Sequence[str]]


class ItemVectors(NamedTuple):
    """P items as vectors.

    Attributes:
        kinds: name (`categories`, `tags`, `text`, `all`) to float64[P, d], rows of length 1, or 0 where nothing is known.
        numbers: float64[P, K], standard normal over the items, 0 where unknown.
        prior: float64[P, D], the inputs of the model of how strong an item is by its content alone.
        similarity: float64[P, E], all of the above; its inner product is the kernel of a session's taste.
    """

    kinds: dict[str, F64]
    numbers: F64
    prior: F64
    similarity: F64


def item_vectors(content: ItemContent) -> ItemVectors:
    """Vectors of all items; those of a kind are tf-idf of its names, above 64 different ones their truncated SVD (LSA).

    The catalogue is taken as known from the start: it says nothing of clicks.
    """
    texts = [_WORD.findall(text.lower()) for text in content.texts]
    bags = {
        "categories": content.categories,
        "tags": content.tags,
        "text": texts,
        "all": _everything(content, texts),
    }
    kinds = {name: bag_vectors(bag) for name, bag in bags.items()}
    numbers = np.stack([normal_scores(column) for column in content.numbers.T], axis=1) if content.number_names else None
    scaled = np.zeros((content.size, 0)) if numbers is None else numbers
    whole = _PRIOR_SCALE * kinds["all"][:, :_PRIOR_DIMENSIONS]
    prior = np.concatenate((scaled, scaled**2 - 1, _PRIOR_SCALE * kinds["categories"], whole), axis=1)
    return ItemVectors(kinds, scaled, prior, np.concatenate((*kinds.values(), 0.3 * scaled), axis=1))


def _everything(content: ItemContent, texts: Bags) -> Bags:
    """All names and words of an item in one bag; a name of one kind is another than the same word of another kind."""
    kinds = {"category": content.categories, "tag": content.tags, "person": content.people, "word": texts}
    return [[f"{kind}:{name}" for kind, bags in kinds.items() for name in bags[row]] for row in range(content.size)]


def bag_vectors(bags: Bags, dimensions: int = DIMENSIONS) -> F64:
    """Vectors of length 1 (0 for an empty bag) of P bags of names: float64[P, d], d <= dimensions.

    tf-idf: (1 + log count) * log(P / bags with the name), of names in at least two bags; if there are more names than `dimensions`,
    the projection on their best singular vectors (Deerwester et al., JASIS 1990).
    """
    weights = _tf_idf(bags)
    if weights.shape[1] <= dimensions:
        return _unit_rows(weights.toarray())
    size = min(dimensions, min(weights.shape) - 1)
    # A start vector instead of a random one: the same catalogue gives the same vectors.
    left, values, _ = svds(weights, k=size, v0=np.ones(min(weights.shape)))
    best_first = np.argsort(-values, kind="stable")
    return _unit_rows((left * values)[:, best_first])


def _tf_idf(bags: Bags) -> Any:
    counts = [Counter(bag) for bag in bags]
    spread = Counter(name for bag in counts for name in bag)
    column = {name: at for at, name in enumerate(sorted(name for name, there in spread.items() if there >= 2))}
    found = [(row, column[name], count) for row, bag in enumerate(counts) for name, count in bag.items() if name in column]
    rows, columns, times = np.array(found, np.int64).reshape(-1, 3).T
    there = np.array([spread[name] for name in column])
    weights = (1 + np.log(times)) * np.log(len(bags) / there)[columns]
    matrix = sparse.csr_matrix((weights, (rows, columns)), shape=(len(bags), len(column)))
    lengths = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    return sparse.diags(1 / np.where(lengths > 0, lengths, 1)) @ matrix


def _unit_rows(vectors: F64) -> F64:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    rows: F64 = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 1e-9)
    return rows


def normal_scores(values: F64) -> F64:
    """Where each value stands among all as a normal quantile, ties in the middle; 0 for NaN. Any unit and any skew end here.

    >>> normal_scores(np.array([1.0, 1e9, 7.0, np.nan])).round(2)
    array([-0.97,  0.97,  0.  ,  0.  ])
    """
    known = ~np.isnan(values)
    scores = np.zeros(len(values))
    if not known.any():
        return scores
    _, places, counts = np.unique(values[known], return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - counts / 2
    scores[known] = ndtri(middle[places] / known.sum())
    return scores
