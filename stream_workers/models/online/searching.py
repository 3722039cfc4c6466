"""Candidates for one person without a score for every item: the same as `sources.propose` finds, at a fraction of the work.

Co-visitation and session-kNN say something of a few thousand items at most; all others tie behind them in the order of the prior,
which `Standing` has. Lists by popularity stand there too, and factor models search with its bounds. So a question costs what its
history touches and what the bounds leave, and no pass that multiplies a matrix of all items.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from stream_workers.models.online.co_visitation import CoVisitation
from stream_workers.models.online.heap import push, sort_heap
from stream_workers.models.online.item_vectors import user_vector
from stream_workers.models.online.numeric import F32, F64, I32, I64, kernel
from stream_workers.models.online.popularity import units_at
from stream_workers.models.online.predicting import score_pool
from stream_workers.models.online.product_search import products, search_products
from stream_workers.models.online.selection import best, hide
from stream_workers.models.online.settings import Numbers
from stream_workers.models.online.sources import (
    FIRST_BATCH,
    POPULAR,
    TIE,
    clear_lists,
    pooled,
    score_neighbours,
    take_list,
    vector_rates,
)
from stream_workers.models.online.standing import PRIOR_LIST, Standing
from stream_workers.models.online.world import (
    BATCH,
    BATCH_MODELS,
    FACTORS,
    KNN,
    LARGEST_POOL,
    PAIRS,
    PAIRS_FAST,
    PAIRS_LAST,
    SPARE,
    VECTORS,
    Person,
    Scratch,
    World,
)

_NEIGHBOURS: Final = (PAIRS, PAIRS_FAST, PAIRS_LAST, KNN)  # their sources stand in this order behind the popularities
_VECTOR_SOURCE: Final = len(POPULAR) + len(_NEIGHBOURS)
_FACTOR_SOURCE: Final = _VECTOR_SOURCE + 1
_SEEN: Final = -1  # in a row of `Scratch.place`: looked at, and not on the list


class Touched(NamedTuple):
    """What the last question has left in the rows of neighbours' scores: items int32[4, I], counts int64[4]; and
    reached: int32[I + 1], heap: float32[P], scratch of a search."""

    items: I32
    counts: I64
    reached: I32
    heap: F32


@kernel
def search_candidates(
    world: World, person: Person, scratch: Scratch, numbers: Numbers, half_lives: F64, standing: Standing, touched: Touched,
    items: int, batch: F32,
) -> int:  # fmt: skip
    """Bring the candidates together in `scratch.pool` and score them into `scratch.blended`; returns how many there are.

    The same candidates and scores as `answering.rank_candidates`.

    Args:
        standing: of the world as it is.
        items: items seen so far, at least one.
        batch: float32[models, >= items], scores of the published batch models; a row that begins with NaN says nothing.
    """
    _search_online(world, person, scratch, numbers, half_lives, standing, touched, items)
    for model in range(min(BATCH_MODELS, batch.shape[0])):
        if not np.isnan(batch[model, 0]):
            s, scores = FIRST_BATCH + model, scratch.scores[SPARE, :items]
            scores[:] = batch[model, :items]
            hide(scores, person.taken, person.counts[1])
            take_list(scratch, s, best(scores, -1e30, numbers.pool, scratch.found[s]))
    count = _pooled_again(scratch)
    said = np.empty((batch.shape[0], count), np.float32)
    for model in range(batch.shape[0]):
        for p in range(count):
            said[model, p] = batch[model, scratch.pool[p]] if not np.isnan(batch[model, 0]) else np.float32(np.nan)
    score_found(world, person, scratch, standing, touched, said, count)
    return count


@kernel
def search_pool(
    world: World, person: Person, scratch: Scratch, numbers: Numbers, half_lives: F64, standing: Standing, touched: Touched,
    items: int, lists: I32,
) -> int:  # fmt: skip
    """The first half of `search_candidates`, where batch models only tell their best: bring the candidates together.

    Args:
        lists: int32[models, n], best items of each batch model, best first, -1 behind the last.
    """
    _search_online(world, person, scratch, numbers, half_lives, standing, touched, items)
    for model in range(min(BATCH_MODELS, lists.shape[0])):
        s, found = FIRST_BATCH + model, 0
        for k in range(lists.shape[1]):
            item = lists[model, k]
            if item >= 0 and found < numbers.pool and person.marks[item] != person.stamp[0]:
                scratch.found[s, found] = item
                found += 1
        take_list(scratch, s, found)
    return _pooled_again(scratch)


@kernel
def score_found(
    world: World, person: Person, scratch: Scratch, standing: Standing, touched: Touched, said: F32, count: int
) -> None:
    """The second half: score the first `count` of the pool.

    Args:
        said: float32[models, count], what batch models say of each of the pool; NaN where one says nothing.
    """
    if count > 0:
        _complete(world, person, scratch, standing, touched, said, count)
        score_pool(world, person, scratch, count, False)


@kernel
def _search_online(
    world: World, person: Person, scratch: Scratch, numbers: Numbers, half_lives: F64, standing: Standing, touched: Touched,
    items: int,
) -> None:  # fmt: skip
    """The lists of all sources but batch models."""
    _clear(scratch, touched)
    units_at(world.popularity, half_lives, max(person.now[0], world.popularity.newest[0]))
    score_neighbours(world, person, scratch, numbers, items)
    for s in range(len(POPULAR)):
        _most_popular(world.popularity.values[POPULAR[s], :items], standing, s, person, scratch, numbers.pool)
    for row in range(len(_NEIGHBOURS)):
        _note_touched(world, person, scratch, numbers, touched, row)
        _nearest(standing, person, scratch, touched, row, items, numbers.pool)
    _search_factors(world, person, scratch, numbers, standing, touched, items)


@kernel
def _pooled_again(scratch: Scratch) -> int:
    """Bring all lists together in place of some of them."""
    for k in range(scratch.pool_count[0]):
        scratch.in_pool[scratch.pool[k]] = 0
    return pooled(scratch)


@kernel
def _clear(scratch: Scratch, touched: Touched) -> None:
    """Take out of the working memory what the last question left there."""
    clear_lists(scratch)
    for row in range(len(_NEIGHBOURS)):
        for k in range(touched.counts[row]):
            scratch.scores[_NEIGHBOURS[row], touched.items[row, k]] = np.float32(0.0)
        touched.counts[row] = 0


@kernel
def _most_popular(values: F32, standing: Standing, s: int, person: Person, scratch: Scratch, k: int) -> None:
    """The best of a popularity that may be shown."""
    found, stamp = 0, person.stamp[0]
    for at in range(standing.leading[s]):
        item = standing.leaders[s, at]
        if found < k and person.marks[item] != stamp:
            scratch.found[s, found] = item
            found += 1
    if found < k and standing.leading[s] == standing.leaders.shape[1]:  # there are more than the list has
        scores = scratch.scores[SPARE, : values.shape[0]]
        scores[:] = values
        hide(scores, person.taken, person.counts[1])
        found = best(scores, 0.0, k, scratch.found[s])
    take_list(scratch, s, found)


@kernel
def _note_touched(world: World, person: Person, scratch: Scratch, numbers: Numbers, touched: Touched, row: int) -> None:
    """Remember each item that a row of neighbours' scores says something of, and mark it in its source's row of places."""
    seen = scratch.place[len(POPULAR) + row]
    noted = touched.items[row]
    if _NEIGHBOURS[row] == KNN:
        count = _first_seen(scratch.knn.voted[: scratch.knn.voted_count[0]], seen, noted, 0)
    else:
        pairs = world.pairs_fast if _NEIGHBOURS[row] == PAIRS_FAST else world.pairs
        depth = 1 if _NEIGHBOURS[row] == PAIRS_LAST else numbers.covisit_depth
        count = _first_paired(pairs, person.items[: min(depth, person.counts[0])], seen, noted)
    touched.counts[row] = count


@kernel
def _first_paired(pairs: CoVisitation, history: I32, seen: I32, noted: I32) -> int:
    count = 0
    for k in range(history.shape[0]):
        item = history[k]
        count = _first_seen(pairs.neighbours[item, : pairs.filled[item]], seen, noted, count)
    return count


@kernel
def _first_seen(items: I32, seen: I32, noted: I32, count: int) -> int:
    """Note items that are met for the first time; how many are noted then."""
    for k in range(items.shape[0]):
        if seen[items[k]] == 0:
            seen[items[k]] = _SEEN
            noted[count] = items[k]
            count += 1
    return count


@kernel
def _nearest(standing: Standing, person: Person, scratch: Scratch, touched: Touched, row: int, items: int, k: int) -> None:
    """The best of a row of neighbours' scores: what it touched, and the others in the order of the prior."""
    s, stamp = len(POPULAR) + row, person.stamp[0]
    scores, seen, prior = scratch.scores[_NEIGHBOURS[row]], scratch.place[s], standing.prior
    heap, found = touched.heap, scratch.found[s]
    size = 0
    for n in range(touched.counts[row]):
        item = touched.items[row, n]
        scores[item] += TIE * prior[item]
        if person.marks[item] != stamp:
            size = push(heap, found, size, k, scores[item], item)
    leaders = standing.leaders[PRIOR_LIST, : standing.leading[PRIOR_LIST]]
    left = 0
    for at in range(leaders.shape[0]):
        left += person.marks[leaders[at]] != stamp and seen[leaders[at]] == 0
    if left >= min(k, items):
        for at in range(leaders.shape[0]):
            if person.marks[leaders[at]] != stamp and seen[leaders[at]] == 0:
                size = push(heap, found, size, k, TIE * prior[leaders[at]], leaders[at])
    else:  # they had nearly all that is popular
        for item in range(items):
            if person.marks[item] != stamp and seen[item] == 0:
                size = push(heap, found, size, k, TIE * prior[item], item)
    sort_heap(heap, found, size)
    for n in range(touched.counts[row]):
        seen[touched.items[row, n]] = 0
    take_list(scratch, s, size)


@kernel
def _search_factors(
    world: World, person: Person, scratch: Scratch, numbers: Numbers, standing: Standing, touched: Touched, items: int
) -> None:  # fmt: skip
    """The best by item vectors, and by matrix factorisation. What the other sources propose sets the bar for both."""
    first = scratch.pool[: pooled(scratch)]
    depth = min(numbers.vector_depth, person.counts[0])
    user_vector(world.vectors, person.counts[2], person.items[:depth], person.liked[:depth], vector_rates(numbers), scratch.vector)
    found = search_products(
        scratch.vector, world.vectors.outward, standing.vector_fixed[:items], standing.vector_length, first, person, scratch,
        touched.reached, numbers.pool, scratch.found[_VECTOR_SOURCE],
    )  # fmt: skip
    take_list(scratch, _VECTOR_SOURCE, found)
    found = search_products(
        _user_factors(world, person, scratch), world.softmax_mf.items, standing.factor_fixed[:items],
        standing.factor_length, first, person, scratch, touched.reached, numbers.pool, scratch.found[_FACTOR_SOURCE],
    )  # fmt: skip
    take_list(scratch, _FACTOR_SOURCE, found)


@kernel
def _user_factors(world: World, person: Person, scratch: Scratch) -> F32:
    """The person's vector of the matrix factorisation, zero for somebody that it does not know; in `scratch.back`."""
    users, user = world.softmax_mf.users, person.counts[2]
    vector = scratch.back[: users.shape[1]]
    for d in range(vector.shape[0]):
        vector[d] = users[user, d] if user >= 0 else np.float32(0.0)
    return vector


@kernel
def _complete(
    world: World, person: Person, scratch: Scratch, standing: Standing, touched: Touched, said: F32, count: int
) -> None:  # fmt: skip
    """Give the first `count` of the pool the scores that no list has worked out for them."""
    pool = scratch.pool[:count]
    for row in range(len(_NEIGHBOURS)):
        scores = scratch.scores[_NEIGHBOURS[row]]
        for p in range(count):
            if scores[pool[p]] == np.float32(0.0):  # nothing was said of it
                scores[pool[p]] = TIE * standing.prior[pool[p]]
                touched.items[row, touched.counts[row]] = pool[p]
                touched.counts[row] += 1
    logits = scratch.scores[SPARE]
    products(scratch.vector, world.vectors.outward, standing.vector_fixed, pool, count, logits)
    for p in range(count):
        scratch.scores[VECTORS, pool[p]] = logits[p]
    products(_user_factors(world, person, scratch), world.softmax_mf.items, standing.factor_fixed, pool, count, logits)
    for p in range(count):
        scratch.scores[FACTORS, pool[p]] = logits[p]
        scratch.log_prior[pool[p]] = standing.log_prior[pool[p]]
    for model in range(BATCH_MODELS):
        scores = scratch.scores[BATCH + model]
        scores[0] = np.nan
        if model < said.shape[0] and not np.isnan(said[model, 0]):
            scores[0] = np.float32(0.0)
            for p in range(count):
                scores[pool[p]] = said[model, p]


def new_touched(items: int) -> Touched:
    """Room for so many items."""
    rows = np.zeros((len(_NEIGHBOURS), items), np.int32)
    return Touched(rows, np.zeros(len(rows), np.int64), np.zeros(items + 1, np.int32), np.zeros(LARGEST_POOL, np.float32))
