"""The losses of the ranking network: pointwise, pairwise and listwise, on labels [B, W] with -1 where there is no item."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import keras
import keras_rs
from keras import ops

_HIDDEN: Final = -1e9


class PointwiseLoss(keras.losses.Loss):  # type: ignore[misc]
    """Mean over the items of a list of the logistic loss: log(1 + exp(-s)) if clicked, else log(1 + exp(s))."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Losses [B] of labels and scores [B, W]."""
        shown = ops.cast(y_true >= 0, y_pred.dtype)
        each = ops.softplus(y_pred) - y_pred * ops.maximum(y_true, 0)
        return ops.sum(each * shown, axis=-1) / ops.maximum(ops.sum(shown, axis=-1), 1)


class SoftmaxLoss(keras.losses.Loss):  # type: ignore[misc]
    """Listwise cross-entropy: - sum_{i clicked} log softmax(s)_i / clicks (ListNet's top one; Cao et al., ICML 2007)."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Losses [B] of labels and scores [B, W]."""
        clicked = ops.maximum(y_true, 0)
        logs = ops.log_softmax(ops.where(y_true >= 0, y_pred, _HIDDEN), axis=-1)
        return -ops.sum(clicked * logs, axis=-1) / ops.maximum(ops.sum(clicked, axis=-1), 1)


class BprLoss(keras_rs.losses.PairwiseLogisticLoss):  # type: ignore[misc]
    """-log sigmoid(s_i - s_j) for each clicked i and ONE other j of its list, drawn anew each time (Rendle et al., UAI 2009)."""

    def __init__(self, seed: int, **given: Any) -> None:
        super().__init__(**given)
        self._dice = keras.random.SeedGenerator(seed)

    def compute_unreduced_loss(self, labels: Any, logits: Any, mask: Any = None) -> tuple[Any, Any]:
        """Losses and weights [B, W, W] of all pairs; all weights but those of the drawn pairs are 0."""
        losses, pairs = super().compute_unreduced_loss(labels, logits, mask)
        noise = (keras.random.uniform(ops.shape(pairs), seed=self._dice) + 1) * pairs
        drawn = ops.logical_and(noise > 0, noise >= ops.max(noise, axis=-1, keepdims=True))
        return losses, ops.cast(drawn, losses.dtype)


class LambdaRankLoss(keras_rs.losses.PairwiseLogisticLoss):  # type: ignore[misc]
    """RankNet's pairs, each weighted by how much NDCG changes if the two change places (Burges et al., NIPS 2006).

    weight_ij = |1 / log2(1 + r_i) - 1 / log2(1 + r_j)| / ideal DCG, with the ranks r of the scores now, times the places of a list
    (the mean over places that Keras takes is undone).
    """

    def compute_unreduced_loss(self, labels: Any, logits: Any, mask: Any = None) -> tuple[Any, Any]:
        """Losses and weights [B, W, W] of all pairs."""
        losses, pairs = super().compute_unreduced_loss(labels, logits, mask)
        hidden = ops.where(labels >= 0, ops.stop_gradient(logits), _HIDDEN)
        ranks = 1.0 + ops.sum(ops.cast(hidden[:, None, :] > hidden[:, :, None], losses.dtype), axis=-1)
        gains = _discount(ranks)
        swapped = ops.abs(gains[:, :, None] - gains[:, None, :])
        width = ops.shape(labels)[1]
        clicks = ops.sum(ops.maximum(labels, 0), axis=-1, keepdims=True)
        places = ops.cast(ops.arange(1, width + 1), losses.dtype)
        ideal = ops.sum(ops.where(places <= clicks, _discount(places), 0.0), axis=-1)
        return losses, pairs * swapped * ops.cast(width, losses.dtype) / ops.maximum(ideal, 1e-9)[:, None, None]


def _discount(ranks: Any) -> Any:
    return ops.log(2.0) / ops.log(1.0 + ranks)


LOSSES: Final[Mapping[str, Callable[[int], Any]]] = {
    "pointwise": lambda seed: PointwiseLoss(),
    "bpr": BprLoss,
    "ranknet": lambda seed: keras_rs.losses.PairwiseLogisticLoss(),
    "softmax": lambda seed: SoftmaxLoss(),
    "lambdarank": lambda seed: LambdaRankLoss(),
}
"""Name to loss for a seed. Not keras-rs's ListMLE: among equal labels it takes the order of the list for the truth."""
