"""What people took one after the other: counted pairs, the strongest simple source on sessions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any, Final

import numpy as np
import scipy.sparse

from batch.datasets.interactions import F32, I64, InteractionLog, enough_to_learn
from batch.models.choosing import best_of
from batch.models.interface import BatchModel, Watch
from batch.models.later_quality import later_quality
from stream_workers.models.deep.neighbours import Neighbours
from stream_workers.models.deep.scorer import Scorer

_HOUR_MS: Final = 3_600_000
_PRIOR: Final = 1e-6


@dataclass(frozen=True)
class CoVisitation(BatchModel):
    """w(i, j) = sum of the weights of the pairs (i, j) / popularity(j)^power; a pair is taken by one user within `reach` places.

    The weight of a pair is decay^(places apart - 1) / (1 + hours apart / patience), halved where j came first: what follows says
    more than what went before. The user's newest items ask for their neighbours, each counting `decay` of the one after it.

    Attributes:
        reach: places between the two. decay: per place. patience: hours after which a pair counts half.
        power, newest: choices of the exponent and of how many items ask, by the quality on the later log.
        neighbours: kept per item.
    """

    name = "co_visitation"
    reach: int = 10
    decay: float = 0.9
    patience: float = 24.0
    power: tuple[float, ...] = (0.0, 0.25, 0.5)
    newest: tuple[int, ...] = (5, 20)
    neighbours: int = 200

    def fit(self, train: InteractionLog, later: InteractionLog, *, seed: int, watch: Watch = Watch()) -> Scorer:  # noqa: B008
        """See `BatchModel`."""
        pairs = self._pairs(enough_to_learn(train))
        makers = [partial(self._scorer, train, pairs, *choice) for choice in product(self.power, self.newest)]
        return best_of(makers, later_quality(train, later, seed=seed), 0, watch)

    def _pairs(self, log: InteractionLog) -> Any:
        """Sparse [P, P], the summed weights of the pairs."""
        size = log.catalogue.size
        total = scipy.sparse.csr_array((size, size), dtype=np.float64)
        for older, newer, weights in self._apart(log):
            total += scipy.sparse.coo_array((weights, (older, newer)), shape=(size, size)).tocsr()
            total += scipy.sparse.coo_array((0.5 * weights, (newer, older)), shape=(size, size)).tocsr()
        total.setdiag(0)
        total.eliminate_zeros()
        return total

    def _apart(self, log: InteractionLog) -> Iterator[tuple[I64, I64, F32]]:
        """For each distance in places: the items before, the items after, and what each pair weighs."""
        order = np.argsort(log.users, kind="stable")
        users, items, times = log.users[order], log.items[order], log.timestamps[order]
        for places in range(1, self.reach + 1):
            same = users[places:] == users[:-places]
            hours = (times[places:] - times[:-places])[same] / _HOUR_MS
            weights = self.decay ** (places - 1) / (1 + hours / self.patience)
            yield items[:-places][same], items[places:][same], weights.astype(np.float32)

    def _scorer(self, log: InteractionLog, pairs: Any, power: float, newest: int) -> Scorer:
        counts = log.item_counts
        scaled = pairs.multiply(1 / np.maximum(counts, 1)[None, :] ** power).tocsr()
        neighbours, weights = strongest(scaled, self.neighbours)
        prior = (_PRIOR * counts / counts.max()).astype(np.float32)
        return Neighbours(neighbours, weights, prior, newest, self.decay)


def strongest(matrix: Any, most: int) -> tuple[I64, F32]:
    """The largest entries of each row of a sparse [P, P]: columns int64[P, K] and values float32[P, K], largest first.

    K is `most`, or less where no row has as many; unused places are column 0 with value 0.

    >>> columns, values = strongest(scipy.sparse.csr_array([[0, 3, 5], [1, 0, 0], [0, 0, 0]]), most=2)
    >>> columns.tolist(), values.tolist()
    ([[2, 1], [0, 0], [0, 0]], [[5.0, 3.0], [1.0, 0.0], [0.0, 0.0]])
    """
    entries = matrix.tocoo()
    rows, order = entries.row, np.lexsort((entries.col, -entries.data, entries.row))
    place = np.arange(len(rows)) - np.searchsorted(rows[order], rows[order])
    kept = order[place < most]
    shape = (matrix.shape[0], min(most, int(place.max(initial=-1)) + 1))
    columns, values = np.zeros(shape, np.int64), np.zeros(shape, np.float32)
    columns[rows[kept], place[place < most]] = entries.col[kept]
    values[rows[kept], place[place < most]] = entries.data[kept]
    return columns, values
