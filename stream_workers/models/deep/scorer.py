"""What every published model is where it is served: arrays, and a function from what is known of a user to item scores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]


class Query(NamedTuple):
    """A user at one moment, in the rows of a model's own items.

    Attributes:
        user: row among the users that the model was trained on, -1 for anybody else.
        items: int64[L], rows of what the user took, oldest first; what the model does not know is left out.
        timestamps: int64[L], event times in ms, not falling.
        now: the moment, ms.
        weights: float32[L], what each event says of its item (a rating, or 1).
    """

    user: int
    items: I64
    timestamps: I64
    now: int
    weights: F32

    @classmethod
    def of(cls, items: Sequence[int], now: int = 0, user: int = -1) -> Query:
        """Somebody who took these items just now.

        >>> Query.of([3, 5]).items
        array([3, 5])
        """
        n = len(items)
        return cls(user, np.asarray(items, np.int64), np.full(n, now, np.int64), now, np.ones(n, np.float32))


class Scorer(ABC):
    """A trained model, ready to serve: P items, all numbers in NumPy arrays that may be read-only memory maps.

    A subclass has one name, keeps what it needs in `arrays` (name to array; no objects, so nothing is ever unpickled) and in
    `settings` (JSON), and is made again by `load(arrays, settings)`: the same scores, bit for bit.
    """

    kind: ClassVar[str]
    """Stands in the manifest of a version; `load_scorer` finds the class by it."""

    @abstractmethod
    def score(self, queries: Sequence[Query]) -> F32:
        """How well each of the P items fits each of the B users: float32[B, P], finite, higher is better.

        Only the order within a row means anything. An item without a vector of its own gets the row's lowest score.
        """

    def score_some(self, query: Query, items: I64) -> F32:
        """The scores of n of the items for one user: float32[n]; models that need not look at all P do less work here."""
        scores: F32 = self.score([query])[0][items]
        return scores

    @property
    def searchable(self) -> bool:
        """Whether `search` looks at a part of the items alone."""
        return False

    def search(self, query: Query, k: int) -> I64:
        """Rows of (nearly) the k items with the highest scores, best first: int64[<= k]."""
        scores = self.score([query])[0]
        best = np.argpartition(-scores, min(k, len(scores)) - 1)[:k]
        found: I64 = best[np.argsort(-scores[best], kind="stable")]
        return found

    @abstractmethod
    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """Everything that was learnt."""

    def settings(self) -> Mapping[str, Any]:
        """The few numbers and names beside the arrays, as JSON."""
        return {}

    @classmethod
    @abstractmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]], settings: Mapping[str, Any]) -> Self:
        """The model of these arrays.

        Raises:
            InvalidInput: an array is missing or has another shape than the others ask for.
        """
