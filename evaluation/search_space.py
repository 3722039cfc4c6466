"""What `freshet tune` may change: the one table of the search space.

Models learn side by side and do not see each other, so one replay judges one choice for each group of settings at once: a group is
judged by its own model, and the blend's by the blend.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

import numpy as np

from schemas.horizons import DAY_MS, HOUR_MS

Value: TypeAlias = float | int | tuple[float, ...]
_MINUTE: Final = HOUR_MS / 60


class Between(NamedTuple):
    """A number between two bounds, drawn evenly on a logarithmic scale; whole where both bounds are ints."""

    low: float
    high: float

    def draw(self, rng: np.random.Generator) -> Value:
        """One value, rounded to three digits: more would only pretend to be precise."""
        drawn = float(np.exp(rng.uniform(np.log(self.low), np.log(self.high))))
        whole = isinstance(self.low, int) and isinstance(self.high, int)
        return round(drawn) if whole else float(f"{drawn:.3g}")


class OneOf(NamedTuple):
    """One of these values."""

    values: Sequence[Value]

    def draw(self, rng: np.random.Generator) -> Value:
        """One value, all equally likely."""
        return self.values[int(rng.integers(len(self.values)))]


class Group(NamedTuple):
    """Settings that are chosen together.

    Attributes:
        judge: the model whose NDCG@10 decides.
        ranges: field of `BankSettings` to its range.
    """

    judge: str
    ranges: Mapping[str, Between | OneOf]


SPACE: Final[Mapping[str, Group]] = {
    "popularity": Group(
        "popularity_decayed",
        {
            "half_lives": OneOf(
                (
                    # a ladder from minutes to months; one for news, one for what changes slowly
                    (10 * _MINUTE, HOUR_MS, 6.0 * HOUR_MS, DAY_MS, 4.0 * DAY_MS, 14.0 * DAY_MS, 60.0 * DAY_MS),
                    (2 * _MINUTE, 5 * _MINUTE, 10 * _MINUTE, 30 * _MINUTE, 2.0 * HOUR_MS, 12.0 * HOUR_MS, 4.0 * DAY_MS),
                    (6.0 * HOUR_MS, DAY_MS, 3.0 * DAY_MS, 7.0 * DAY_MS, 21.0 * DAY_MS, 60.0 * DAY_MS, 365.0 * DAY_MS),
                )
            )
        },
    ),
    "co_visitation": Group(
        "co_visitation",
        {
            "covisit_half_life": Between(6.0 * HOUR_MS, 365.0 * DAY_MS),
            "covisit_fast_half_life": Between(HOUR_MS, 60.0 * DAY_MS),
            "covisit_depth": Between(4, 40),
            "covisit_decay": Between(0.4, 1.0),
            "covisit_back": Between(0.1, 1.0),
            "covisit_power_from": OneOf((0.0, 0.3, 0.4, 0.5, 0.7, 1.0)),
            "covisit_power_to": OneOf((0.0, 0.1, 0.2, 0.35)),
        },
    ),
    "session_knn": Group(
        "session_knn",
        {
            "knn_depth": Between(4, 20),
            "knn_neighbours": Between(50, 300),
            "knn_decay": Between(0.4, 1.0),
            "knn_tau": Between(10 * _MINUTE, 365.0 * DAY_MS),
            "knn_distance": Between(2.0, 30.0),
            "knn_back": Between(0.1, 1.0),
        },
    ),
    "item_vectors": Group(
        "item_vectors",
        {
            "vector_depth": Between(5, 40),
            "vector_lr": Between(0.01, 0.5),
            "vector_l2": Between(1e-6, 3e-2),
            "vector_gamma": Between(0.6, 1.0),
            "vector_personal": OneOf((0.0, 1.0)),
            "vector_replays": OneOf((0, 1, 2, 3, 4)),
        },
    ),
    "softmax_mf": Group("softmax_mf", {"mf_lr": Between(0.01, 0.5), "mf_l2": Between(1e-4, 0.1)}),
    "bpr": Group("bpr", {"bpr_lr": Between(0.01, 0.5), "bpr_l2": Between(1e-4, 0.1)}),
    "isgd": Group("isgd", {"isgd_lr": Between(0.01, 0.5), "isgd_l2": Between(1e-4, 0.1)}),
    "blend": Group(
        "blend",
        {
            "pool": OneOf((30, 40, 50, 60, 80)),
            "hidden": OneOf((32, 64)),
            "blend_lr": Between(3e-4, 3e-3),
            "blend_warm_lr": Between(1e-3, 2e-2),
            "linear_lr": Between(0.005, 0.2),
        },
    ),
}
