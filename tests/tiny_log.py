"""A small log with a structure that every model can find: groups of items, taken in a ring, by people of that group."""

from __future__ import annotations

import numpy as np

from batch.datasets.interactions import Catalogue, InteractionLog, checked

GROUPS, RING = 4, 8
ITEMS = GROUPS * RING
HOUR_MS = 3_600_000
START_MS = 1_700_000_000_000


def tiny_log(users: int = 60, length: int = 6, unknown_items: int = 2, seed: int = 3) -> InteractionLog:
    """Each user walks `length` steps around the ring of their group; the last items of the catalogue nobody takes."""
    rng = np.random.default_rng(seed)
    group, first = rng.integers(GROUPS, size=users), rng.integers(RING, size=users)
    step = np.arange(length)
    items = group[:, None] * RING + (first[:, None] + step) % RING
    times = START_MS + HOUR_MS * step + rng.integers(HOUR_MS // 2, size=(users, 1))
    order = np.argsort(times.ravel(), kind="stable")
    who = np.repeat(np.arange(users), length)
    names = tuple(f"user{u}" for u in range(users))
    return checked(
        InteractionLog(
            who[order], items.ravel()[order], times.ravel()[order], np.full(users * length, np.nan, np.float32), names,
            tiny_catalogue(ITEMS + unknown_items),
        )
    )  # fmt: skip


def tiny_catalogue(items: int) -> Catalogue:
    group = [f"group{p // RING}" for p in range(items)]
    return Catalogue(
        ids=tuple(f"item{p}" for p in range(items)),
        titles=tuple(f"{name} number {p}" for p, name in enumerate(group)),
        categories=tuple((name,) for name in group),
        tags=((),) * items,
        years=np.array([1980 + p % 40 for p in range(items)], np.float32),
        first_seen=np.full(items, START_MS, np.int64),
    )


def without_text(log: InteractionLog) -> InteractionLog:
    """The same log of items of which nothing is known."""
    nothing: tuple[tuple[str, ...], ...] = ((),) * log.catalogue.size
    years = np.full(log.catalogue.size, np.nan, np.float32)
    return log._replace(
        catalogue=log.catalogue._replace(titles=("",) * log.catalogue.size, categories=nothing, tags=nothing, years=years)
    )
