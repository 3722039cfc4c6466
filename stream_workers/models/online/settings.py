"""The numbers of the online models. The defaults are for streams of any kind; `freshet tune` finds others for one stream."""

from __future__ import annotations

from math import isfinite
from typing import NamedTuple, Self

from schemas.errors import InvalidSettings
from schemas.horizons import DAY_MS, HOUR_MS

MINUTE_MS = 60_000.0


class BankSettings(NamedTuple):
    """Half-lives and times in ms.

    Attributes:
        seed: of every random number.
        repeats: whether an item may be shown again to somebody who had it (mode B).
        half_lives: of popularity, shortest first.
        depth: history items that models look at.
        covisit_*: see `co_visitation`. knn_*: see `session_knn`. vector_*: see `item_vectors`. mf_*: see `softmax_mf`.
        bpr_*, isgd_*: see there. negatives_window: events that count as the same moment.
        pool: candidates of each source. hidden, networks: width and number of the blend's networks. blend_*: see `blend`.
        max_items, max_users, max_events: bounds on memory; beyond them the least important are forgotten.
        taken_limit: newest events of a user that are looked at for what they had.
    """

    seed: int = 7
    repeats: bool = False
    half_lives: tuple[float, ...] = (
        10 * MINUTE_MS, 1.0 * HOUR_MS, 6.0 * HOUR_MS, 1.0 * DAY_MS, 4.0 * DAY_MS, 14.0 * DAY_MS, 60.0 * DAY_MS,
    )  # fmt: skip
    depth: int = 20
    covisit_half_life: float = 300.0 * DAY_MS
    covisit_fast_half_life: float = 10.0 * DAY_MS
    covisit_depth: int = 10
    covisit_decay: float = 0.8
    covisit_back: float = 0.4
    covisit_power_from: float = 0.4
    covisit_power_to: float = 0.0
    covisit_neighbours: int = 128
    knn_depth: int = 10
    knn_occurrences: int = 100
    knn_neighbours: int = 100
    knn_window: int = 10
    knn_decay: float = 0.8
    knn_tau: float = 200.0 * DAY_MS
    knn_distance: float = 8.0
    knn_back: float = 0.7
    vector_size: int = 32
    vector_depth: int = 20
    vector_lr: float = 0.07
    vector_l2: float = 0.01
    vector_gamma: float = 0.9
    vector_personal: float = 1.0
    vector_logq: float = 1.0
    vector_negatives: int = 48
    vector_replays: int = 2
    mf_size: int = 16
    mf_lr: float = 0.1
    mf_l2: float = 0.01
    mf_logq: float = 1.0
    mf_negatives: int = 16
    bpr_lr: float = 0.05
    bpr_l2: float = 0.01
    bpr_negatives: int = 4
    isgd_lr: float = 0.05
    isgd_l2: float = 0.01
    negatives_window: int = 1000
    recent_share: float = 0.5
    pool: int = 50
    hidden: int = 32
    networks: int = 3
    blend_lr: float = 1e-3
    blend_warm_lr: float = 5e-3
    linear_lr: float = 0.05
    max_items: int = 200_000
    max_users: int = 200_000
    max_events: int = 1 << 20
    taken_limit: int = 10_000

    @classmethod
    def from_mapping(cls, given: dict[str, object]) -> Self:
        """The defaults with some numbers changed.

        Raises:
            InvalidSettings: an unknown name, or a value of another kind than the default.

        >>> BankSettings.from_mapping({"depth": 30}).depth
        30
        """
        defaults = cls()
        values: dict[str, object] = {}
        for name, value in given.items():
            if name not in cls._fields:
                raise InvalidSettings(f"model setting {name!r} is unknown; there are {', '.join(cls._fields)}")
            values[name] = _like(name, value, getattr(defaults, name))
        return cls(**values)  # type: ignore[arg-type]


def _like(name: str, value: object, default: object) -> object:
    """The value in the default's type."""
    if isinstance(default, tuple) and isinstance(value, list | tuple):
        return tuple(_like(name, part, default[0]) for part in value)
    if isinstance(value, bool) or isinstance(default, bool):
        if isinstance(value, bool) and isinstance(default, bool):
            return value
    elif isinstance(value, int | float) and isfinite(value):
        if isinstance(default, float):
            return float(value)
        if isinstance(default, int) and value == int(value):
            return int(value)
    raise InvalidSettings(f"model setting {name}={value!r}: expected something like {default!r}")


class Numbers(NamedTuple):
    """The part of the settings that kernels read: numbers alone, see `BankSettings`."""

    seed: int
    repeats: bool
    depth: int
    covisit_half_life: float
    covisit_fast_half_life: float
    covisit_depth: int
    covisit_decay: float
    covisit_back: float
    covisit_power_from: float
    covisit_power_to: float
    knn_depth: int
    knn_occurrences: int
    knn_neighbours: int
    knn_window: int
    knn_decay: float
    knn_tau: float
    knn_distance: float
    knn_back: float
    vector_depth: int
    vector_lr: float
    vector_l2: float
    vector_gamma: float
    vector_personal: float
    vector_logq: float
    vector_negatives: int
    vector_replays: int
    mf_lr: float
    mf_l2: float
    mf_logq: float
    mf_negatives: int
    bpr_lr: float
    bpr_l2: float
    bpr_negatives: int
    isgd_lr: float
    isgd_l2: float
    negatives_window: int
    recent_share: float
    pool: int
    hidden: int
    blend_lr: float
    blend_warm_lr: float
    linear_lr: float
    taken_limit: int

    @classmethod
    def of(cls, settings: BankSettings) -> Self:
        """The numbers of these settings."""
        return cls(**{name: getattr(settings, name) for name in cls._fields})
