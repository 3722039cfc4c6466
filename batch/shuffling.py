"""Permutation importance (Breiman, 2001): how much quality is lost when the values of a feature are dealt out anew."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

REPEATS: Final = 3
Quality = Callable[[np.random.Generator], float]
"""The quality with the values of something shuffled by a generator."""


def drops(whole: float, shuffled: Mapping[str, Quality], rng: np.random.Generator) -> dict[str, float]:
    """whole - mean over `REPEATS` of the quality with that feature shuffled, for each feature; the largest loss first.

    Args:
        whole: the quality with all as it is. shuffled: by the name of a feature, or of a group of them.

    >>> drops(0.5, {"no use": lambda rng: 0.5, "all": lambda rng: 0.0}, np.random.default_rng(1))
    {'all': 0.5, 'no use': 0.0}
    """
    found = {name: float(whole - np.mean([quality(rng) for _ in range(REPEATS)])) for name, quality in shuffled.items()}
    return dict(sorted(found.items(), key=lambda each: -each[1]))
