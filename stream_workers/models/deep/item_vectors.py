"""Item vectors of a skip-gram model where they serve: the user is a decayed mean of what they took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from stream_workers.models.deep.recent import decayed_shares, recent
from stream_workers.models.deep.scorer import F32, Query
from stream_workers.models.deep.vectors import VectorScorer, array_of


class ItemVectorScorer(VectorScorer):
    """score(user, item) = mean over the newest L items of their centre vectors . context vector of the item + bias.

    The k-th newest item counts 0.5 ** (k / half-life), k from 0.

    Args:
        centres: float32[P, d], also of items that nobody took, by their text. contexts: float32[P, d]. bias: float32[P].
        half_life: in items. longest: L.
    """

    kind: ClassVar[str] = "item_vectors"

    def __init__(self, centres: F32, contexts: F32, bias: F32, half_life: float, longest: int) -> None:
        super().__init__(contexts, bias)
        self.centres, self._half_life, self._longest = centres, half_life, longest

    def user_vectors(self, queries: Sequence[Query]) -> F32:
        """See `VectorScorer`; 0 for somebody without history."""
        found = recent(queries, self._longest)
        amounts = decayed_shares(found.present, self._half_life)
        return np.asarray(np.einsum("bl,bld->bd", amounts, self.centres[found.items]), np.float32)

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """See `Scorer`."""
        return {"centres": self.centres, "contexts": self.item_vectors, "bias": self.item_bias}

    def settings(self) -> Mapping[str, Any]:
        """See `Scorer`."""
        return {"half_life": self._half_life, "longest": self._longest}

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]], settings: Mapping[str, Any]) -> Self:
        """See `Scorer`."""
        centres = array_of(arrays, "centres", None, None)
        contexts, bias = array_of(arrays, "contexts", *centres.shape), array_of(arrays, "bias", len(centres))
        return cls(centres, contexts, bias, float(settings["half_life"]), int(settings["longest"]))
