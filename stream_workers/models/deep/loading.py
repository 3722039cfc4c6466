"""From what is stored to a scorer: one table of all kinds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from numpy.typing import NDArray

from feature_store.version_arrays import StoredVersion
from schemas.errors import InvalidInput
from stream_workers.models.deep.autoencoder import AutoencoderScorer, AutoRecScorer
from stream_workers.models.deep.implicit_factors import ImplicitFactors
from stream_workers.models.deep.item_scores import ItemScores
from stream_workers.models.deep.item_vectors import ItemVectorScorer
from stream_workers.models.deep.item_weights import ItemWeights
from stream_workers.models.deep.neighbours import Neighbours
from stream_workers.models.deep.neural_factors import NeuralFactorsScorer
from stream_workers.models.deep.published import PublishedModel, published_model
from stream_workers.models.deep.recurrent import Recurrent
from stream_workers.models.deep.scorer import Scorer
from stream_workers.models.deep.towers import TwoTowerScorer
from stream_workers.models.deep.wide_deep import WideDeepScorer

SCORERS: Final[tuple[type[Scorer], ...]] = (
    AutoencoderScorer,
    AutoRecScorer,
    ImplicitFactors,
    ItemScores,
    ItemVectorScorer,
    ItemWeights,
    Neighbours,
    NeuralFactorsScorer,
    Recurrent,
    TwoTowerScorer,
    WideDeepScorer,
)  # a new kind of scorer is one more line here


def published(stored: StoredVersion) -> PublishedModel:
    """The model of a version that was read.

    Raises:
        InvalidInput: as `load_scorer`.
    """
    return published_model(stored, load_scorer)


def load_scorer(kind: str, arrays: Mapping[str, NDArray[Any]], settings: Mapping[str, Any]) -> Scorer:
    """The scorer that was stored as `kind`, `arrays()` and `settings()`.

    Raises:
        InvalidInput: no such kind, or an array or setting is missing or does not fit.
    """
    known = {scorer.kind: scorer for scorer in SCORERS}
    if kind not in known:
        raise InvalidInput(f"scorer of kind {kind!r}; this version knows {', '.join(sorted(known))}")
    try:
        return known[kind].load(arrays, settings)
    except KeyError as error:
        raise InvalidInput(f"scorer of kind {kind!r}: the setting {error} is missing") from error
