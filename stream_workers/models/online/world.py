"""All state of the online models as one value that kernels can take, and their working memory."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from stream_workers.models.online.audience import Audience, new_audience
from stream_workers.models.online.blend import Blend, new_blend
from stream_workers.models.online.calibration import Calibration, new_calibration
from stream_workers.models.online.co_visitation import CoVisitation, new_co_visitation
from stream_workers.models.online.dice import U64
from stream_workers.models.online.event_log import EventLog, new_log
from stream_workers.models.online.factors import Factors, new_factors
from stream_workers.models.online.item_vectors import ItemVectors, new_item_vectors
from stream_workers.models.online.numeric import F32, F64, I32, I64
from stream_workers.models.online.popularity import Popularity, new_popularity
from stream_workers.models.online.session_knn import KnnScratch, new_knn_scratch
from stream_workers.models.online.settings import BankSettings
from stream_workers.models.online.title_words import HASHES, WORDS

MODELS: Final = (
    "popularity_all_time", "popularity_decayed", "co_visitation", "session_knn", "isgd", "bpr", "softmax_mf", "item_vectors",
    "blend_linear", "blend", "batch_1", "batch_2", "shadow_1", "shadow_2",
)  # fmt: skip
ALL_TIME, DECAYED, CO_VISITATION, SESSION_KNN, ISGD, BPR, SOFTMAX_MF, ITEM_VECTORS, LINEAR, BLEND, BATCH_1, BATCH_2 = range(12)
OWN: Final = BATCH_1  # models that learn here; behind them stand published ones, and then those that are only judged
SHADOW_1: Final = BATCH_2 + 1

# Rows of the dense scores.
PAIRS, PAIRS_FAST, PAIRS_LAST, KNN, VECTORS, FACTORS, SPARE, BATCH = range(8)
BATCH_MODELS: Final = 2  # rows from BATCH on are scores of published batch models
SCORE_ROWS: Final = BATCH + BATCH_MODELS
CATEGORIES: Final = 8  # kept per item
LISTED: Final = 20  # items of each model's list that the scoreboard sees
LARGEST_POOL: Final = 640


class Content(NamedTuple):
    """What the catalogue says of the items: categories int32[I, 8], codes, -1 where none; year float32[I], 0 where unknown;
    words, items_with: see `title_words`.
    """

    categories: I32
    year: F32
    words: I32
    items_with: I32


class World(NamedTuple):
    """Everything that is learnt. `pairs` remembers long, `pairs_fast` short; `merit`: float64[2], which of them was right lately.
    `dice`: uint64[1]."""

    log: EventLog
    popularity: Popularity
    pairs: CoVisitation
    pairs_fast: CoVisitation
    merit: F64
    vectors: ItemVectors
    softmax_mf: Factors
    bpr: Factors
    isgd: Factors
    content: Content
    audience: Audience
    calibration: Calibration
    blend: Blend
    dice: U64


class Person(NamedTuple):
    """Who is asked for, at what moment: filled by `prepare`.

    Attributes:
        items, times, liked: int32[D], float64[D], float32[D]; history, newest first. taken: int32[I], what must not be shown.
        marks: int64[I]; stamp: int64[1]; an item is left out where its mark is the stamp.
        counts: int64[3]; length of the history, number of taken items, user code (-1 unknown).
        now: float64[1], ms.
    """

    items: I32
    times: F64
    liked: F32
    taken: I32
    marks: I64
    stamp: I64
    counts: I64
    now: F64


class Scratch(NamedTuple):
    """Working memory for I items, F features, P candidates; nothing in it is remembered.

    Attributes:
        scores: float32[R, I], a row for each model. prior, log_prior: float32[I]. largest: float64[R].
        found: int32[S, P], best lists of the sources; found_count: int64[S].
        place: int32[S, I], 1 + place in each source's list, 0 elsewhere.
        pool: int32[P]; in_pool: int64[I], 1 + place in the pool, 0 elsewhere. pool_count: int64[1].
        x: float32[F, P]. offset, blended, linear: float32[P]; network: float32[E, P]. hidden: float32[E, H, P]. gradient:
            float32[T].
        vector, back: float32[k]. negatives: int32[N]. ranks: int64[R].
        replay_items, replay_times, replay_liked: a past history.
        interest: float32[C], share of each category in the history. word_shares: float32[W], zeros, see `title_words`.
    """

    scores: F32
    prior: F32
    log_prior: F32
    largest: F64
    found: I32
    found_count: I64
    place: I32
    pool: I32
    in_pool: I64
    pool_count: I64
    x: F32
    offset: F32
    blended: F32
    network: F32
    linear: F32
    hidden: F32
    gradient: F32
    vector: F32
    back: F32
    negatives: I32
    ranks: I64
    replay_items: I32
    replay_times: F64
    replay_liked: F32
    interest: F32
    word_shares: F32
    knn: KnnScratch


def new_world(settings: BankSettings, items: int, users: int, events: int, features: int) -> World:
    """A world in which nothing has happened, with room for so many items, users and (a power of two) events."""
    rng = np.random.default_rng(settings.seed)
    return World(
        log=new_log(events, users, items),
        popularity=new_popularity(len(settings.half_lives), items),
        pairs=new_co_visitation(items, settings.covisit_neighbours),
        pairs_fast=new_co_visitation(items, settings.covisit_neighbours),
        merit=np.zeros(2),
        vectors=new_item_vectors(items, users, settings.vector_size),
        softmax_mf=new_factors(users, items, settings.mf_size),
        bpr=new_factors(users, items, settings.mf_size),
        isgd=new_factors(users, items, settings.mf_size),
        content=new_content(items),
        audience=new_audience(items),
        calibration=new_calibration(items),
        blend=new_blend(features, settings.hidden, settings.networks, rng),
        dice=np.array([settings.seed * 2 + 1], np.uint64),
    )


def new_content(items: int) -> Content:
    """Nothing is described yet."""
    return Content(
        categories=np.full((items, CATEGORIES), -1, np.int32),
        year=np.zeros(items, np.float32),
        words=np.full((items, WORDS), -1, np.int32),
        items_with=np.zeros(HASHES, np.int32),
    )


def new_person(settings: BankSettings, items: int) -> Person:
    """Working memory for one person."""
    return Person(
        items=np.zeros(settings.depth, np.int32),
        times=np.zeros(settings.depth, np.float64),
        liked=np.zeros(settings.depth, np.float32),
        taken=np.zeros(items, np.int32),
        marks=np.zeros(items, np.int64),
        stamp=np.zeros(1, np.int64),
        counts=np.zeros(3, np.int64),
        now=np.zeros(1),
    )


def new_scratch(settings: BankSettings, items: int, users: int, features: int, sources: int, categories: int) -> Scratch:
    """Working memory for one thread."""
    size = features * settings.hidden + 2 * settings.hidden + features
    pool = LARGEST_POOL
    return Scratch(
        scores=np.zeros((SCORE_ROWS, items), np.float32),
        prior=np.zeros(items, np.float32),
        log_prior=np.zeros(items, np.float32),
        largest=np.zeros(SCORE_ROWS),
        found=np.zeros((sources, pool), np.int32),
        found_count=np.zeros(sources, np.int64),
        place=np.zeros((sources, items), np.int32),
        pool=np.zeros(pool, np.int32),
        in_pool=np.zeros(items, np.int64),
        pool_count=np.zeros(1, np.int64),
        x=np.zeros((features, pool), np.float32),
        offset=np.zeros(pool, np.float32),
        blended=np.zeros(pool, np.float32),
        network=np.zeros((settings.networks, pool), np.float32),
        linear=np.zeros(pool, np.float32),
        hidden=np.zeros((settings.networks, settings.hidden, pool), np.float32),
        gradient=np.zeros(size, np.float32),
        vector=np.zeros(settings.vector_size, np.float32),
        back=np.zeros(max(settings.vector_size, settings.mf_size), np.float32),
        negatives=np.zeros(max(settings.vector_negatives, settings.mf_negatives, settings.bpr_negatives), np.int32),
        ranks=np.zeros(max(len(settings.half_lives) + 1, len(MODELS)), np.int64),
        replay_items=np.zeros(settings.depth, np.int32),
        replay_times=np.zeros(settings.depth, np.float64),
        replay_liked=np.zeros(settings.depth, np.float32),
        interest=np.zeros(categories, np.float32),
        word_shares=np.zeros(HASHES, np.float32),
        knn=new_knn_scratch(users, settings.knn_depth, settings.knn_occurrences, settings.knn_window),
    )
