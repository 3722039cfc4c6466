"""Interactions by user as rows of equal length: histories to ask with, windows to learn the next item from."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from batch.datasets.interactions import I64, InteractionLog
from schemas.errors import InvalidInput

NOTHING: Final = -1
"""Fills rows up at their end."""


class Sequences(NamedTuple):
    """R rows of L places, filled from the left, oldest first.

    Attributes:
        items: int64[R, L], rows of the catalogue, -1 behind the end.
        gaps: int64[R, L], ms since the user's interaction before, 0 for the first one and behind the end.
        lengths: int64[R].
        users: int64[R].
    """

    items: I64
    gaps: I64
    lengths: I64
    users: I64


class Windows(NamedTuple):
    """What a model of the next item learns from: after `inputs.items[r, 0..t]` came `targets[r, t]` (-1: nothing known)."""

    inputs: Sequences
    targets: I64


class _ByUser(NamedTuple):
    """The log's interactions grouped by user, oldest first; those of user u are starts[u] to starts[u + 1] - 1."""

    items: I64
    gaps: I64
    starts: I64


def histories(log: InteractionLog, users: NDArray[np.integer], longest: int) -> Sequences:
    """The newest `longest` interactions of each of these users.

    Raises:
        InvalidInput: longest below 1.
    """
    by_user = _grouped(log)
    asked = np.asarray(users, np.int64)
    ends = by_user.starts[asked + 1]
    begins = np.maximum(by_user.starts[asked], ends - _at_least_one("longest", longest))
    return _rows(by_user, begins, ends - begins, asked, longest)


def windows(log: InteractionLog, length: int, stride: int | None = None) -> Windows:
    """Windows over each user's interactions: the last one ends at the newest, each other `stride` earlier.

    With `stride` = `length` (the default) every transition stands in one window; a smaller stride gives the places near a window's
    beginning a second chance with more context. Users with one interaction give nothing.

    Raises:
        InvalidInput: length or stride below 1.
    """
    _at_least_one("length", length)
    step = _at_least_one("stride", length if stride is None else stride)
    by_user = _grouped(log)
    transitions = np.maximum(np.diff(by_user.starts) - 1, 0)
    count = np.where(transitions > 0, 1 + np.maximum(0, -(-(transitions - length) // step)), 0)
    users = np.repeat(np.arange(len(transitions)), count)
    number = np.arange(len(users)) - np.repeat(np.cumsum(count) - count, count)  # 0 for a user's newest window
    ends = by_user.starts[users] + transitions[users] - number * step
    begins = np.maximum(by_user.starts[users], ends - length)
    inputs = _rows(by_user, begins, ends - begins, users, length)
    targets = _rows(by_user, begins + 1, ends - begins, users, length).items
    return Windows(inputs, targets)


def _grouped(log: InteractionLog) -> _ByUser:
    order = np.argsort(log.users, kind="stable")
    users, times = log.users[order], log.timestamps[order]
    gaps = np.diff(times, prepend=times[:1])
    gaps[np.diff(users, prepend=NOTHING) != 0] = 0
    return _ByUser(log.items[order], gaps, np.searchsorted(users, np.arange(len(log.user_ids) + 1)))


def _rows(by_user: _ByUser, begins: I64, lengths: I64, users: I64, width: int) -> Sequences:
    places = np.arange(width)
    filled = places < lengths[:, None]
    at = np.where(filled, begins[:, None] + places, 0)
    if not len(by_user.items):
        nothing = np.full(at.shape, NOTHING, np.int64)
        return Sequences(nothing, np.zeros_like(nothing), lengths, users)
    return Sequences(np.where(filled, by_user.items[at], NOTHING), np.where(filled, by_user.gaps[at], 0), lengths, users)


def _at_least_one(name: str, value: int) -> int:
    if value < 1:
        raise InvalidInput(f"{name}={value}: expected at least 1")
    return value
