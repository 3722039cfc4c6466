"""From a person to a pool of candidates: every source scores all items, the best of each come together."""

from __future__ import annotations

from typing import Final

import numpy as np

from stream_workers.models.online.co_visitation import CoVisitation, score_co_visitation
from stream_workers.models.online.event_log import history_before, mark_taken
from stream_workers.models.online.factors import score_factors
from stream_workers.models.online.item_vectors import VectorRates, score_item_vectors, user_vector
from stream_workers.models.online.numeric import F32, F64, kernel, logarithms
from stream_workers.models.online.popularity import leading_half_life, priors, units_at
from stream_workers.models.online.selection import best, hide
from stream_workers.models.online.session_knn import score_session_knn
from stream_workers.models.online.settings import Numbers
from stream_workers.models.online.world import (
    BATCH,
    BATCH_MODELS,
    FACTORS,
    KNN,
    PAIRS,
    PAIRS_FAST,
    PAIRS_LAST,
    SPARE,
    VECTORS,
    Person,
    Scratch,
    World,
)

# Candidates come from four popularities (rows of the half-lives: about an hour, a day, four days, two months) and five models.
POPULAR: Final = (1, 3, 4, 6)
SOURCES: Final = (
    *(f"popularity_{row}" for row in POPULAR),
    "co_visitation",
    "co_visitation_fast",
    "co_visitation_last",
    "session_knn",
    "item_vectors",
    "softmax_mf",
    *(f"batch_{n}" for n in range(1, BATCH_MODELS + 1)),
)
_MODEL_ROWS: Final = (PAIRS, PAIRS_FAST, PAIRS_LAST, KNN, VECTORS, FACTORS, BATCH, BATCH + 1)
FIRST_BATCH: Final = len(SOURCES) - BATCH_MODELS
TIE: Final = np.float32(1e-4)  # of the prior: orders items that a source knows nothing of


@kernel
def ask_for(world: World, person: Person, numbers: Numbers, user: int, now: float) -> None:
    """Fill `person` with a user of the log (-1: nobody known) at time `now`."""
    person.stamp[0] += 1
    person.now[0] = now
    person.counts[2] = user
    person.counts[0] = 0
    newest = world.log.user_last[user] if user >= 0 else -1
    person.counts[0] = history_before(world.log, newest, person.items, person.times, person.liked)
    person.counts[1] = mark_taken(
        world.log, user, numbers.taken_limit, numbers.repeats, person.stamp[0], person.marks, person.taken
    )


@kernel
def score_prior(world: World, person: Person, scratch: Scratch, half_lives: F64, items: int) -> None:
    """Fill prior and log prior of the items at this person's moment."""
    pop = world.popularity
    units_at(pop, half_lives, max(person.now[0], pop.newest[0]))
    priors(pop, leading_half_life(pop), scratch.prior[:items])
    logarithms(scratch.prior[:items], scratch.scores[PAIRS, :items], scratch.log_prior[:items])


@kernel
def score_sources(world: World, person: Person, scratch: Scratch, numbers: Numbers, items: int) -> None:
    """Fill `scratch.scores[:, :items]` for this person; the prior is there."""
    prior, log_prior = scratch.prior[:items], scratch.log_prior[:items]
    history, liked = person.items[: person.counts[0]], person.liked[: person.counts[0]]
    for source in (PAIRS, PAIRS_FAST, PAIRS_LAST, KNN):
        ties = scratch.scores[source, :items]
        for j in range(items):
            ties[j] = TIE * prior[j]
    score_neighbours(world, person, scratch, numbers, items)
    rates = vector_rates(numbers)
    depth = min(numbers.vector_depth, history.shape[0])
    user_vector(world.vectors, person.counts[2], history[:depth], liked[:depth], rates, scratch.vector)
    score_item_vectors(world.vectors, scratch.vector, log_prior, numbers.vector_logq, scratch.scores[VECTORS, :items])
    score_factors(world.softmax_mf, person.counts[2], log_prior, numbers.mf_logq, scratch.scores[FACTORS, :items])


@kernel
def score_neighbours(world: World, person: Person, scratch: Scratch, numbers: Numbers, items: int) -> None:
    """Add what co-visitation and session-kNN say for this person to their rows of `scratch.scores[:, :items]`."""
    history, liked = person.items[: person.counts[0]], person.liked[: person.counts[0]]
    unit = _unit(world.pairs, person.now[0], numbers.covisit_half_life)
    for row in (PAIRS, PAIRS_FAST):
        pairs = world.pairs if row == PAIRS else world.pairs_fast
        half_life = numbers.covisit_half_life if row == PAIRS else numbers.covisit_fast_half_life
        scratch.largest[row] = score_co_visitation(
            pairs, history, liked, _unit(pairs, person.now[0], half_life), numbers.covisit_depth, numbers.covisit_decay,
            numbers.covisit_power_from, numbers.covisit_power_to, scratch.scores[row, :items],
        )  # fmt: skip
    scratch.largest[PAIRS_LAST] = score_co_visitation(
        world.pairs, history, liked, unit, 1, 1.0, numbers.covisit_power_from, 0.3, scratch.scores[PAIRS_LAST, :items]
    )
    scratch.largest[KNN] = score_session_knn(
        world.log, scratch.knn, person.counts[2], history, liked, person.now[0], numbers.knn_depth, numbers.knn_occurrences,
        numbers.knn_neighbours, numbers.knn_window, numbers.knn_decay, numbers.knn_tau, numbers.knn_distance, numbers.knn_back,
        scratch.scores[KNN, :items],
    )  # fmt: skip


@kernel
def _unit(pairs: CoVisitation, now: float, half_life: float) -> float:
    """What one pair would add now; never less than the first one did, so that clocks that run backwards do not blow scores up."""
    exponent = (now - pairs.landmarks[0]) / half_life
    return 1.0 if np.isnan(exponent) else 2.0 ** min(max(exponent, 0.0), 1000.0)


@kernel
def vector_rates(numbers: Numbers) -> VectorRates:
    """The rates of the item vectors."""
    return VectorRates(numbers.vector_lr, numbers.vector_l2, numbers.vector_gamma, numbers.vector_personal, numbers.vector_logq)


@kernel
def take_batch_scores(scratch: Scratch, batch: F32, items: int) -> None:
    """Take over what the published batch models say: float32[models, >= items]; a row that begins with NaN says nothing."""
    for model in range(BATCH_MODELS):
        scores = scratch.scores[BATCH + model]
        if model < batch.shape[0]:
            scores[:items] = batch[model, :items]
        else:
            scores[0] = np.nan


@kernel
def propose(world: World, person: Person, scratch: Scratch, numbers: Numbers, items: int) -> int:
    """Bring the best of every source together in `scratch.pool`; `scratch.place` remembers where each source had an item;
    what must not be shown is hidden in `scratch.scores`.

    Returns:
        How many candidates there are.
    """
    clear_lists(scratch)
    for s in range(scratch.found.shape[0]):
        if s >= FIRST_BATCH and np.isnan(scratch.scores[BATCH + s - FIRST_BATCH, 0]):
            continue
        if s < len(POPULAR):
            scores, floor = scratch.scores[SPARE, :items], 0.0
            scores[:] = world.popularity.values[POPULAR[s], :items]
        else:
            scores, floor = scratch.scores[_MODEL_ROWS[s - len(POPULAR)], :items], -1e30
        hide(scores, person.taken, person.counts[1])
        take_list(scratch, s, best(scores, floor, numbers.pool, scratch.found[s]))
    return pooled(scratch)


@kernel
def clear_lists(scratch: Scratch) -> None:
    """Take the lists of the last question out of the working memory."""
    for k in range(scratch.pool_count[0]):
        scratch.in_pool[scratch.pool[k]] = 0
    for s in range(scratch.found.shape[0]):
        for k in range(scratch.found_count[s]):
            scratch.place[s, scratch.found[s, k]] = 0
        scratch.found_count[s] = 0


@kernel
def take_list(scratch: Scratch, source: int, count: int) -> None:
    """The first `count` items of `scratch.found[source]` are what the source proposes, best first."""
    scratch.found_count[source] = count
    for k in range(count):
        scratch.place[source, scratch.found[source, k]] = k + 1


@kernel
def pooled(scratch: Scratch) -> int:
    """Bring the lists of all sources together in `scratch.pool`; how many candidates there are."""
    count = 0
    for s in range(scratch.found.shape[0]):
        for k in range(scratch.found_count[s]):
            item = scratch.found[s, k]
            if scratch.in_pool[item] == 0 and count < scratch.pool.shape[0]:
                scratch.pool[count] = item
                count += 1
                scratch.in_pool[item] = count
    scratch.pool_count[0] = count
    return count
