"""Scoring a slate with the trained ranking network in NumPy: every item sees the others of its slate."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from schemas.errors import InvalidInput

F32 = NDArray[np.float32]
Bools = NDArray[np.bool_]

NORM_EPSILON: Final = 1e-3
_FARTHEST: Final = 5.0
_HIDDEN: Final = np.float32(-1e9)


class FeatureScale(NamedTuple):
    """What training saw of F features, float32[F] each.

    Attributes:
        means, sds: over all items of all slates. spreads: standard deviation around the mean of the item's own slate.
    """

    means: F32
    sds: F32
    spreads: F32

    @classmethod
    def of(cls, values: F32, shown: Bools) -> Self:
        """Of features float32[S, W, F] at the places bool[S, W] that hold an item."""
        rows = values[shown].astype(np.float64)
        around = _centred(values.astype(np.float64), shown)[shown]
        columns = (rows.mean(axis=0), rows.std(axis=0), around.std(axis=0))
        return cls(*(column.astype(np.float32) for column in columns))

    def inputs(self, values: F32, shown: Bools, around: Bools | None = None) -> F32:
        """Inputs of a model: the feature minus its slate's mean, in spreads, and the feature in standard deviations.

        Args:
            around: bool[S, W], whose mean is taken for the slate's; None: all that is shown.

        Returns:
            float32[S, W, 2 F], cut at 5 either way, 0 at places without an item and for a feature that never varied.
        """
        centred, standard = _centred(values, shown if around is None else around), values - self.means
        both = np.concatenate((_divided(centred, self.spreads), _divided(standard, self.sds)), axis=2)
        return np.clip(both, -_FARTHEST, _FARTHEST) * shown[:, :, None].astype(np.float32)


def _centred(values: NDArray[Any], shown: Bools) -> NDArray[Any]:
    here = shown[:, :, None]
    counts = np.maximum(here.sum(axis=1, keepdims=True), 1).astype(values.dtype)
    around: NDArray[Any] = values - (values * here).sum(axis=1, keepdims=True) / counts
    return around


def _divided(values: F32, by: F32) -> F32:
    varied = by > 1e-6
    return values * np.where(varied, 1 / np.where(varied, by, 1), 0).astype(np.float32)


class SlateRanker:
    """The network: h = relu(x W1 + b1); h = norm(h + attention(h)); h = norm(h + relu(h W2 + b2)); score = h w + x u.

    Attention is scaled dot-product with several heads over the items of the slate (Vaswani et al., NIPS 2017), without positions:
    the same items in another order get the same scores (Lee et al., Set Transformer, ICML 2019).

    Args:
        arrays: see `SHAPES`; float32. F features, D width, H heads of size K = D / H.
    """

    SHAPES: Final[Mapping[str, tuple[str, ...]]] = {
        "means": ("F",),
        "sds": ("F",),
        "spreads": ("F",),
        "inner_kernel": ("2F", "D"),
        "inner_bias": ("D",),
        **{f"{part}_kernel": ("D", "H", "K") for part in ("query", "key", "value")},
        **{f"{part}_bias": ("H", "K") for part in ("query", "key", "value")},
        "together_kernel": ("H", "K", "D"),
        "together_bias": ("D",),
        "outer_kernel": ("D", "D"),
        "outer_bias": ("D",),
        **{f"norm_{at}_{part}": ("D",) for at in (1, 2) for part in ("gain", "shift")},
        "score_kernel": ("D", "1"),
        "score_bias": ("1",),
        "direct_kernel": ("2F", "1"),
    }

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self._arrays: dict[str, F32] = {name: np.asarray(arrays[name], np.float32) for name in self.SHAPES}

    def score(self, values: F32, shown: Bools) -> F32:
        """Scores of all items of S slates, higher is better: float32[S, W]; -1e9 at places without an item.

        Args:
            values: float32[S, W, F], features as they were computed for training. shown: bool[S, W].
        """
        scale = FeatureScale(self._arrays["means"], self._arrays["sds"], self._arrays["spreads"])
        inputs = scale.inputs(values, shown)
        hidden = np.maximum(self._dense("inner", inputs), 0)
        hidden = self._norm(1, hidden + self._attention(hidden, shown))
        hidden = self._norm(2, hidden + np.maximum(self._dense("outer", hidden), 0))
        scores = self._dense("score", hidden) + inputs @ self._arrays["direct_kernel"]
        return np.where(shown, scores[:, :, 0], _HIDDEN)

    def score_beside(self, values: F32, context: int) -> F32:
        """Scores of N candidates, each as if it were shown beside the first `context` of them: float32[N].

        A slate is small and its candidates are many. Features are centred around those in the context, and attention sees these
        and the candidate itself; so what is scored looks like what was trained on, at a cost of N * context. With `context` = N
        the scores are those of `score`.

        Args:
            values: float32[N, F]. context: 1 to N.
        """
        beside = np.arange(len(values)) < context
        scale = FeatureScale(self._arrays["means"], self._arrays["sds"], self._arrays["spreads"])
        inputs = scale.inputs(values[None], np.ones((1, len(values)), np.bool_), beside[None])[0]
        hidden = np.maximum(self._dense("inner", inputs), 0)
        hidden = self._norm(1, hidden + self._attention_beside(hidden, context))
        hidden = self._norm(2, hidden + np.maximum(self._dense("outer", hidden), 0))
        scores: F32 = (self._dense("score", hidden) + inputs @ self._arrays["direct_kernel"])[:, 0]
        return scores

    def _dense(self, name: str, inputs: F32) -> F32:
        outputs: F32 = inputs @ self._arrays[f"{name}_kernel"] + self._arrays[f"{name}_bias"]
        return outputs

    def _norm(self, at: int, inputs: F32) -> F32:
        """Layer normalisation (Ba et al., 2016)."""
        around = inputs - inputs.mean(axis=-1, keepdims=True)
        scaled = around / np.sqrt(np.square(around).mean(axis=-1, keepdims=True) + np.float32(NORM_EPSILON))
        outputs: F32 = scaled * self._arrays[f"norm_{at}_gain"] + self._arrays[f"norm_{at}_shift"]
        return outputs

    def _attention(self, inputs: F32, shown: Bools) -> F32:
        query, key, value = (self._heads(part, inputs) for part in ("query", "key", "value"))
        logits = query @ key.swapaxes(-1, -2) / np.float32(math.sqrt(query.shape[-1]))
        logits = np.where(shown[:, None, None, :], logits, _HIDDEN)
        weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        return self._together((weights @ value).swapaxes(1, 2))

    def _together(self, seen: F32) -> F32:
        """What the heads saw, float32[..., H, K], as one vector: float32[..., D]."""
        together: F32 = np.tensordot(seen, self._arrays["together_kernel"], axes=2) + self._arrays["together_bias"]
        return together

    def _attention_beside(self, inputs: F32, context: int) -> F32:
        """Attention of each row of float32[N, D] to the first `context` rows and to itself."""
        kernels, biases = self._of_heads
        split = (inputs @ kernels + biases).reshape(len(inputs), 3, *self._arrays["query_bias"].shape)
        query, key, value = split.transpose(1, 2, 0, 3)  # one product for all three: calls cost more than sums here
        query = query / np.float32(math.sqrt(query.shape[-1]))
        others = query @ key[:, :context].swapaxes(-1, -2)
        own = np.einsum("hnk,hnk->hn", query, key)[:, :, None]
        own[:, :context] = _HIDDEN  # those are among the others
        largest = np.maximum(others.max(axis=-1, keepdims=True), own)
        others, own = np.exp(others - largest), np.exp(own - largest)
        seen = (others @ value[:, :context] + own * value) / (others.sum(axis=-1, keepdims=True) + own)
        return self._together(seen.swapaxes(0, 1))

    @cached_property
    def _of_heads(self) -> tuple[F32, F32]:
        """The kernels and biases of query, key and value side by side: float32[D, 3 H K] and [3 H K]."""
        parts = ("query", "key", "value")
        kernels = [self._arrays[f"{part}_kernel"].reshape(len(self._arrays["inner_bias"]), -1) for part in parts]
        biases = [self._arrays[f"{part}_bias"].reshape(-1) for part in parts]
        return np.concatenate(kernels, axis=1), np.concatenate(biases)

    def _heads(self, part: str, inputs: F32) -> F32:
        """float32[S, H, W, K]."""
        heads = np.tensordot(inputs, self._arrays[f"{part}_kernel"], axes=1) + self._arrays[f"{part}_bias"]
        split: F32 = heads.swapaxes(1, 2)
        return split

    def arrays(self) -> Mapping[str, F32]:
        """Everything that was learnt, by the names of `SHAPES`."""
        return self._arrays

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The network of these arrays.

        Raises:
            InvalidInput: an array is missing, has another shape than the others ask for, or is not finite.
        """
        missing = [name for name in cls.SHAPES if name not in arrays]
        if missing:
            raise InvalidInput(f"a ranker needs the array(s) {', '.join(missing)}")
        sizes = {"1": 1, "F": len(arrays["means"]), "2F": 2 * len(arrays["means"]), "D": len(arrays["inner_bias"])}
        sizes["H"], sizes["K"] = arrays["query_bias"].shape if arrays["query_bias"].ndim == 2 else (-1, -1)
        for name, letters in cls.SHAPES.items():
            expected = tuple(sizes[letter] for letter in letters)
            if arrays[name].shape != expected:
                raise InvalidInput(f"{name}: shape {arrays[name].shape}, expected {expected} ({', '.join(letters)})")
            if not np.isfinite(arrays[name]).all():
                raise InvalidInput(f"{name}: not all numbers are finite")
        return cls(arrays)
