"""Gives published models with many items an index to search them with, where they serve."""

from __future__ import annotations

from typing import Final

import numpy as np

from feature_store.version_arrays import StoredVersion
from stream_workers.models.deep.loading import published
from stream_workers.models.deep.nearest import NearestItems
from stream_workers.models.deep.published import PublishedModel
from stream_workers.models.deep.scorer import Query, Scorer
from stream_workers.models.deep.vectors import UNKNOWN_BIAS, IndexedScorer

EXACT_UP_TO: Final = 50_000  # items; so few are scored as soon as an index is searched
_QUESTIONS: Final = 64  # made-up histories that an index is measured with
_HISTORY: Final = 5  # items of each


def searchable(stored: StoredVersion) -> PublishedModel:
    """The model of a version that was read, with an index if it needs one; making it takes seconds.

    Raises:
        InvalidInput: as `loading.load_scorer`.
    """
    model = published(stored)
    make_index(model.scorer)
    return model


def make_index(scorer: Scorer, exact_up_to: int = EXACT_UP_TO) -> None:
    """Give a scorer of vectors an index over its items: none where they are few, or where it would miss what it must find.

    Args:
        exact_up_to: items that need no index.
    """
    if not isinstance(scorer, IndexedScorer):
        return
    vectors, bias = scorer.item_vectors, scorer.item_bias
    known = np.flatnonzero(bias > UNKNOWN_BIAS)
    if len(known) > exact_up_to:
        rng = np.random.default_rng(len(known))
        questions = scorer.questions([Query.of(rng.choice(known, _HISTORY).tolist()) for _ in range(_QUESTIONS)])
        # Items without a vector keep their rows; their bias, far below all others, would stretch every length.
        scorer.index = NearestItems.made(vectors, np.maximum(bias, bias[known].min()), questions)
