"""A scorer with a group of its features shuffled: what such a scorer still knows shows what the group is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from batch.models.interface import Answers, Shuffles
from stream_workers.models.deep.scorer import F32, Query, Scorer


class OthersHistories:
    """Asks a scorer for each user with the history of another one, as old as it was for that one.

    Args:
        rng: deals the histories out among the queries of one call.
    """

    def __init__(self, scorer: Scorer, rng: np.random.Generator) -> None:
        self._scorer, self._rng = scorer, rng

    def score(self, queries: Sequence[Query]) -> F32:
        """See `Scorer.score`."""
        others = (queries[at] for at in self._rng.permutation(len(queries)))
        return self._scorer.score([_with_history_of(other, query) for query, other in zip(queries, others, strict=True)])


def _with_history_of(other: Query, query: Query) -> Query:
    return query._replace(items=other.items, timestamps=other.timestamps - other.now + query.now, weights=other.weights)


def rows_shuffled(scorer: Scorer, names: Sequence[str], rng: np.random.Generator) -> Scorer:
    """The scorer with the rows of these arrays, which are of one length, in another order, the same for all."""
    arrays = dict(scorer.arrays())
    order = rng.permutation(len(arrays[names[0]]))
    return type(scorer).load({**arrays, **{name: arrays[name][order] for name in names}}, scorer.settings())


def usual_shuffles(scorer: Scorer, groups: Mapping[str, Sequence[str]]) -> Shuffles:
    """The history, and groups of arrays whose rows are items, or hours, or the like."""
    by_rows = {group: partial(_rows_by, scorer, names) for group, names in groups.items()}
    return {"history": partial(OthersHistories, scorer), **by_rows}


def _rows_by(scorer: Scorer, names: Sequence[str], rng: np.random.Generator) -> Answers:
    return rows_shuffled(scorer, names, rng)
