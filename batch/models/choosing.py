"""One of a few settings, by the quality on the later log."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from batch.models.interface import Watch
from stream_workers.models.deep.scorer import Scorer


def best_of(makers: Sequence[Callable[[], Scorer]], quality: Callable[[Scorer], float] | None, usual: int, watch: Watch) -> Scorer:
    """Makes all and gives the one of the highest quality, the first of equals; two are in memory at a time.

    Args:
        quality: None where there is nothing to judge on: then number `usual` is made, and no other.
    """
    if quality is None:
        return makers[usual]()
    best = makers[0]()
    reached = quality(best)
    watch.progress(1, len(makers))
    for number, make in enumerate(makers[1:], start=2):
        made = make()
        if (found := quality(made)) > reached:
            best, reached = made, found
        watch.progress(number, len(makers))
    return best
