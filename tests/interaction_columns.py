"""Rows of what the user stage tells the learner, made up for tests."""

from __future__ import annotations

import numpy as np
from hypothesis import settings

from schemas.topics import CLICKS, USER_STAGE_TOPICS
from stream_workers.handlers.interactions import InteractionColumns

MANY = settings(deadline=None, max_examples=60)


def columns(times: list[int], partition: int = 0, first: int = 0, topic: str = CLICKS) -> InteractionColumns:
    """A row for each time, by user u<time>, with consecutive offsets of one source."""
    n = len(times)
    rows = np.arange(n, dtype=np.int32)
    return InteractionColumns(
        partition, [f"u{time}" for time in times], ["7"], [("device=tv",)], rows, rows * 0, rows * 0,
        np.full(n, USER_STAGE_TOPICS.index(topic), np.uint8), np.arange(first, first + n), np.ones(n, np.uint8),
        np.zeros(n, np.bool_), np.full(n, np.nan, np.float32), np.array(times, np.int64),
    )  # fmt: skip
