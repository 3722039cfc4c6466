"""EASE: one closed-form solution that most deep recommenders do not beat; so it stands beside them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import scipy.linalg
import scipy.sparse
from numpy.typing import NDArray

from batch.datasets.interactions import F32, I64, InteractionLog, enough_to_learn
from batch.models.choosing import best_of
from batch.models.interface import BatchModel, Watch
from batch.models.later_quality import later_quality
from stream_workers.models.deep.item_weights import ItemWeights
from stream_workers.models.deep.scorer import Scorer


@dataclass(frozen=True)
class Ease(BatchModel):
    """Embarrassingly shallow autoencoder (Steck, WWW 2019): X ~ X W with diag(W) = 0, a ridge regression of each item on others.

    With P = (X'X + l I)^-1: W_ij = -P_ij / P_jj for i != j, 0 on the diagonal. X is the matrix of users and items, 0 or 1.

    Attributes:
        regularisation: values of l to choose from by the quality on the later log; larger for more users.
        most_items: the items with the most interactions that take part; the matrix has the square of it.
    """

    name = "ease"
    regularisation: tuple[float, ...] = (10.0, 50.0, 200.0, 800.0)
    most_items: int = 10_000

    def fit(self, train: InteractionLog, later: InteractionLog, *, seed: int, watch: Watch = Watch()) -> Scorer:  # noqa: B008
        """See `BatchModel`."""
        rows = frequent(enough_to_learn(train), self.most_items)
        taken = user_items(train, rows)
        makers = [partial(_solved, taken, rows, train.catalogue.size, strength) for strength in self.regularisation]
        return best_of(makers, later_quality(train, later, seed=seed), len(makers) // 2, watch)


def frequent(log: InteractionLog, most: int) -> I64:
    """The items that were taken, at most so many, those taken most often; rising rows."""
    counts = log.item_counts
    order = np.argsort(-counts, kind="stable")[:most]
    return np.sort(order[counts[order] > 0]).astype(np.int64)


def user_items(log: InteractionLog, rows: I64) -> scipy.sparse.csr_array:
    """X: sparse float32[users, K], 1 where the user took the item; its columns are these rows of the catalogue."""
    place = np.full(log.catalogue.size, -1)
    place[rows] = np.arange(len(rows))
    pairs = np.unique(np.stack((log.users, place[log.items])), axis=1)
    users, columns = pairs[:, pairs[1] >= 0]
    return scipy.sparse.csr_array((np.ones(len(users), np.float32), (users, columns)), shape=(len(log.user_ids), len(rows)))


def _solved(taken: scipy.sparse.csr_array, rows: I64, items: int, strength: float) -> ItemWeights:
    inverse = _inverse(taken, strength)
    weights = inverse / -np.diag(inverse)
    np.fill_diagonal(weights, 0)
    return ItemWeights(weights, rows, items)


def _inverse(taken: scipy.sparse.csr_array, strength: float) -> F32:
    """(X'X + l I)^-1, through the smaller of the two Gram matrices (Woodbury): (I - X' (X X' + l I)^-1 X) / l."""
    users, items = taken.shape
    if users >= items:
        gram = (taken.T @ taken).toarray().astype(np.float64)
        return _inverted(gram, strength).astype(np.float32)
    dense = taken.toarray()
    inner = _inverted((taken @ taken.T).toarray().astype(np.float64), strength).astype(np.float32)
    inverse: F32 = dense.T @ (inner @ dense)
    inverse *= np.float32(-1 / strength)
    inverse[np.diag_indices(items)] += np.float32(1 / strength)
    return inverse


def _inverted(gram: NDArray[np.float64], strength: float) -> NDArray[np.float64]:
    gram[np.diag_indices(len(gram))] += strength
    factor = scipy.linalg.cho_factor(gram, overwrite_a=True)
    inverse: NDArray[np.float64] = scipy.linalg.cho_solve(factor, np.eye(len(gram)))
    return inverse
