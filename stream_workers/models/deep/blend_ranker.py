"""The ranker behind the online blend: it corrects the blend's own log-probabilities by what its network makes of the features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from feature_store.version_arrays import StoredVersion
from schemas.errors import InvalidInput
from stream_workers.models.deep.ranker import F32, SlateRanker


class BlendRanker:
    """score_j = log p_j + network(x)_j, with the blend's probability p_j and features x of all candidates.

    An offset and not only a feature: a network that has learnt nothing ranks as the blend does, and candidates that were never
    shown, so that nothing was learnt of them, keep their distance to those that were. (As `init_score` of boosted trees.)

    Args:
        network: over the features of the blend's network and, last, log p.
        features: digest of the features' names, see `feature_store.feature_vectors.digest_of`.

    Attributes:
        width: how many features it takes, log p among them.
    """

    kind: ClassVar[str] = "blend_ranker"
    """Stands in the manifest of a version."""

    def __init__(self, network: SlateRanker, features: str) -> None:
        self._network = network
        self.features = features
        self.width = len(network.arrays()["means"])

    def score(self, vectors: F32, context: int) -> F32:
        """Scores of N candidates, higher is better: float32[N]; see `SlateRanker.score_beside`.

        Args:
            vectors: float32[N, width], the last column log p. context: the list has so many places; at least 1.
        """
        scores: F32 = vectors[:, -1] + self._network.score_beside(vectors, min(context, len(vectors)))
        return scores

    def score_slates(self, vectors: F32, shown: NDArray[np.bool_]) -> F32:
        """Scores of whole slates, as `score` gives them for one at a time: float32[S, W].

        Args:
            vectors: float32[S, W, width]. shown: bool[S, W], where there is an item.
        """
        scores: F32 = vectors[:, :, -1] + self._network.score(vectors, shown)
        return scores

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """Everything that was learnt."""
        return self._network.arrays()

    def settings(self) -> Mapping[str, Any]:
        """What the manifest says beside the arrays."""
        return {"features": self.features}

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]], settings: Mapping[str, Any]) -> Self:
        """The ranker of these arrays.

        Raises:
            InvalidInput: an array or setting is missing, does not fit or is not finite.
        """
        features = settings.get("features")
        if not isinstance(features, str):
            raise InvalidInput(f"a ranker of kind {cls.kind!r} needs the setting features, the digest of its features' names")
        return cls(SlateRanker.load(arrays), features)


class RankerVersion(NamedTuple):
    """A published ranker, ready to score; `name` is `model@version`."""

    name: str
    ranker: BlendRanker


def ranker_version(stored: StoredVersion) -> RankerVersion:
    """The ranker of what `feature_store.model_versions.read_version` has read.

    Raises:
        InvalidInput: it is of another kind, or its arrays do not belong together.
    """
    manifest = stored.manifest
    if manifest.kind != BlendRanker.kind:
        raise InvalidInput(f"{manifest.model}: of kind {manifest.kind!r}; expected {BlendRanker.kind!r}")
    return RankerVersion(f"{manifest.model}@{stored.version}", BlendRanker.load(stored.arrays, manifest.settings))


def probe(ranker: BlendRanker) -> F32:
    """Scores of a few made-up candidates, float32[12]: the same before and after it was stored, and finite."""
    return ranker.score(np.random.default_rng(1).normal(size=(12, ranker.width)).astype(np.float32), 10)
