"""What a session's earlier slates say of an item: how alike it is to what was clicked there, and to what was passed over."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from batch.slates.columns import F64, I64
from batch.slates.content import ItemVectors

_NOISE: Final = 3.0
_WIDTH: Final = 0.5
_LEAST_INFORMATION: Final = 0.02


class Memory(NamedTuple):
    """H items that a session was shown in slates whose outcome is known.

    Attributes:
        items: int64[H]. clicked: float64[H], 0 or 1.
        residual: float64[H], clicked minus what the item's strength made expect. information: float64[H], its variance.
    """

    items: I64
    clicked: F64
    residual: F64
    information: F64

    def newest(self, count: int) -> Memory:
        """The last `count` items."""
        return Memory(self.items[-count:], self.clicked[-count:], self.residual[-count:], self.information[-count:])

    def followed_by(self, later: Memory) -> Memory:
        """Both, one behind the other."""
        return Memory(*(np.concatenate(pair) for pair in zip(self, later, strict=True)))


NOTHING: Final = Memory(np.zeros(0, np.int64), np.zeros(0), np.zeros(0), np.zeros(0))


def taste_names(vectors: ItemVectors, number_names: tuple[str, ...]) -> list[str]:
    """Names of the columns of `taste_features`."""
    kinds = [f"{what}_{kind}" for kind in vectors.kinds for what in ("surprise", "closest", "clicked", "skipped")]
    numbers = [f"{what}_{name}" for what in ("near", "along") for name in number_names]
    return [*kinds, *numbers, "taste"]


def taste_features(vectors: ItemVectors, memory: Memory, items: I64) -> F64:
    """Columns of `taste_names` for n items: float64[n, F], 0 without a memory.

    Per kind of vectors, with the similarity k and the residual r of each remembered item j: sum_j k_ij r_j (surprise), the greatest
    k with a clicked one (closest), and the mean k with clicked and with skipped ones, shrunk to 0. Per number:
    sum_j r_j exp(-2 (x_i - x_j)^2) (near) and x_i sum_j r_j x_j (along). Last, a Gaussian-process regression of r / information
    on everything together (Rasmussen and Williams 2006, 2.2).
    """
    if not len(memory.items):
        return np.zeros((len(items), 4 * len(vectors.kinds) + 2 * vectors.numbers.shape[1] + 1))
    columns = [column for each in vectors.kinds.values() for column in _by_kind(each[items] @ each[memory.items].T, memory)]
    here, there = vectors.numbers[items], vectors.numbers[memory.items]
    near = np.exp(-((here[:, None] - there) ** 2) / (2 * _WIDTH**2))
    along = here * (memory.residual @ there)
    by_number = np.concatenate((np.einsum("ijk,j->ik", near, memory.residual), along), axis=1)
    return np.concatenate((np.stack(columns, axis=1), by_number, _regressed(vectors.similarity, memory, items)), axis=1)


def _by_kind(similarity: F64, memory: Memory) -> tuple[F64, F64, F64, F64]:
    clicks, skips = memory.clicked.sum(), (1 - memory.clicked).sum()
    closest = (similarity * memory.clicked).max(axis=1)
    mean_clicked, mean_skipped = similarity @ memory.clicked / (clicks + 2), similarity @ (1 - memory.clicked) / (skips + 5)
    return similarity @ memory.residual, closest, mean_clicked, mean_skipped


def _regressed(similarity: F64, memory: Memory, items: I64) -> F64:
    """Mean of the posterior at the items: k_i (K + noise / information)^-1 (r / information), float64[n, 1]."""
    there = similarity[memory.items]
    information = np.maximum(memory.information, _LEAST_INFORMATION)
    system = there @ there.T + np.diag(_NOISE / information)
    means: F64 = similarity[items] @ (there.T @ np.linalg.solve(system, memory.residual / information))
    return means[:, None]
