"""One question to all models and the blend, nothing learnt: what the API asks for each request."""

from __future__ import annotations

from stream_workers.models.online.numeric import F32, F64, kernel
from stream_workers.models.online.predicting import score_pool
from stream_workers.models.online.settings import Numbers
from stream_workers.models.online.sources import propose, score_prior, score_sources, take_batch_scores
from stream_workers.models.online.world import Person, Scratch, World


@kernel
def rank_candidates(
    world: World, person: Person, scratch: Scratch, numbers: Numbers, half_lives: F64, items: int, batch: F32
) -> int:  # fmt: skip
    """Bring the candidates together in `scratch.pool` and score them into `scratch.blended`; returns how many there are.

    One kernel and not three: to hand the arrays of all models over takes longer than some of the work.

    Args:
        items: items seen so far, at least one.
        batch: float32[models, >= items], scores of the published batch models; no rows: there are none.
    """
    score_prior(world, person, scratch, half_lives, items)
    score_sources(world, person, scratch, numbers, items)
    take_batch_scores(scratch, batch, items)
    count = propose(world, person, scratch, numbers, items)
    if count > 0:
        score_pool(world, person, scratch, count, False)
    return count
