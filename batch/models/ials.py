"""Alternating least squares on implicit feedback, by the library `implicit`."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np
import scipy.sparse

from batch.datasets.interactions import F32, I64, InteractionLog, enough_to_learn
from batch.models.choosing import best_of
from batch.models.ease import frequent, user_items
from batch.models.interface import BatchModel, TrainingFailed, Watch
from batch.models.later_quality import later_quality
from stream_workers.models.deep.implicit_factors import ImplicitFactors
from stream_workers.models.deep.scorer import Scorer
from stream_workers.models.deep.vectors import UNKNOWN_BIAS


@dataclass(frozen=True)
class ImplicitAls(BatchModel):
    """Minimises sum over users and items of c_ui (x_ui - u . v)^2 + l (|u|^2 + |v|^2), c = `confidence` of what was taken, else 1.

    Hu, Koren and Volinsky, ICDM 2008. It is a strong baseline where l and c are chosen well (Rendle et al., "Revisiting the
    performance of iALS", RecSys 2022); so both are, by the quality on the later log.

    Attributes:
        factors: numbers per vector. iterations: of both half-steps.
        regularisation, confidence: choices of l and c.
    """

    name = "ials"
    factors: int = 64
    iterations: int = 15
    regularisation: tuple[float, ...] = (10.0, 50.0)
    confidence: tuple[float, ...] = (2.0, 10.0, 40.0)

    def fit(self, train: InteractionLog, later: InteractionLog, *, seed: int, watch: Watch = Watch()) -> Scorer:  # noqa: B008
        """See `BatchModel`."""
        enough_to_learn(train)
        choices = list(product(self.regularisation, self.confidence))
        makers = [partial(self._factorised, train, *choice, seed) for choice in choices]
        return best_of(makers, later_quality(train, later, seed=seed), len(makers) // 2, watch)

    def _factorised(self, train: InteractionLog, strength: float, confidence: float, seed: int) -> ImplicitFactors:
        from implicit.cpu.als import AlternatingLeastSquares  # noqa: PLC0415 - other models need no compiled library

        rows = frequent(train, train.catalogue.size)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # it warns that OpenBLAS has threads, which costs it time only
            model = AlternatingLeastSquares(
                self.factors, strength, confidence, iterations=self.iterations, num_threads=1, random_state=seed
            )
            model.fit(scipy.sparse.csr_matrix(user_items(train, rows)), show_progress=False)
        vectors = np.zeros((train.catalogue.size, self.factors), np.float32)
        vectors[rows] = model.item_factors
        if not np.isfinite(vectors).all():
            raise TrainingFailed(f"ials with regularisation {strength} and confidence {confidence}: vectors that are not finite")
        gram = vectors.T @ vectors + np.float32(strength) * np.eye(self.factors, dtype=np.float32)
        return ImplicitFactors(vectors, _bias(rows, len(vectors)), gram, confidence)


def _bias(rows: I64, items: int) -> F32:
    bias = np.full(items, UNKNOWN_BIAS, np.float32)
    bias[rows] = 0
    return bias
