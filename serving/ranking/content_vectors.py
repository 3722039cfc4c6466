"""What items have in common by their categories and tags, as vectors whose products are cosines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from typing import Final

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
LARGEST: Final = 256  # terms; a pool has few that several items share, but a hostile catalogue could have 50,000


def content_vectors(terms: Sequence[Sequence[str]]) -> F64:
    """One vector an item, float64[N, T]: v_it = 1 / sqrt(number of i's terms) for each of its terms t.

    So v_i . v_j is the cosine of the two items' sets of terms. Terms of a single item change no product with another and have no
    column; of others the LARGEST most frequent do.

    Args:
        terms: categories and tags of each item; an item without any is like none.

    >>> content_vectors([["a", "b"], ["a"], []]).round(2).tolist()
    [[0.71], [1.0], [0.0]]
    """
    sets = [set(own) for own in terms]
    counts = Counter(chain.from_iterable(sets))
    shared = {term: at for at, (term, count) in enumerate(counts.most_common(LARGEST)) if count > 1}
    vectors = indicators(sets, shared)
    vectors /= np.sqrt(np.maximum([len(own) for own in sets], 1))[:, None]
    return vectors


def indicators(terms: Sequence[Collection[str]], columns: Mapping[str, int]) -> F64:
    """float64[N, T], 1 where an item has a term.

    Args:
        columns: the terms that count, to their column.

    >>> indicators([["a"], ["b", "c"]], {"a": 0, "c": 1}).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    cells = [row * len(columns) + columns[term] for row, own in enumerate(terms) for term in own if term in columns]
    found = np.zeros(len(terms) * len(columns))
    found[cells] = 1.0
    return found.reshape(len(terms), len(columns))
