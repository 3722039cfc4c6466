"""Cutting a log into what is learnt, what training may look at to stop early, and what it is judged on."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from batch.datasets.interactions import I64, InteractionLog, checked
from schemas.errors import InvalidInput

FUTURE: Final = "future"
LEAVE_ONE_OUT: Final = "leave-one-out"
_LEAST_PER_USER: Final = 3  # one each to learn, to stop by and to be judged on


class Split(NamedTuple):
    """Three logs of the same users and catalogue."""

    train: InteractionLog
    validation: InteractionLog
    test: InteractionLog


def split(log: InteractionLog, kind: str) -> Split:
    """The split of this name.

    Raises:
        InvalidInput: no such split, or a log that is too short for it.
    """
    if kind == FUTURE:
        return leave_future_out(log, *future_times(log))
    if kind == LEAVE_ONE_OUT:
        return leave_one_out(log)
    raise InvalidInput(f"--split {kind}: expected {FUTURE} or {LEAVE_ONE_OUT}")


def leave_future_out(log: InteractionLog, validation_from: int, test_from: int) -> Split:
    """Train on what happened before `validation_from`, validate until `test_from`, test on the rest.

    Nothing of a later part is known in an earlier one, as where the model serves. Times in ms; what happens at a boundary
    is in the later part.

    Raises:
        InvalidInput: boundaries that fall, or a part without interactions.
    """
    if validation_from > test_from:
        raise InvalidInput(f"validation from {validation_from}, test from {test_from}: the test comes last")
    first, second = np.searchsorted(checked(log).timestamps, [validation_from, test_from], side="left").tolist()
    return _whole(Split(log.part(0, first), log.part(first, second), log.part(second, log.size)))


def future_times(log: InteractionLog, validation: float = 0.1, test: float = 0.1) -> tuple[int, int]:
    """The moments from which on the newest `test` share of the interactions happened, and the `validation` share before it.

    Raises:
        InvalidInput: shares that are not positive or leave nothing to learn, or an empty log.
    """
    if not (validation > 0 and test > 0 and validation + test < 1):
        raise InvalidInput(f"shares of {validation} and {test}: expected two positive numbers with a sum below 1")
    if not log.size:
        raise InvalidInput("an empty log has no moments to cut at")
    places = [int(log.size * (1 - validation - test)), int(log.size * (1 - test))]
    first, second = log.timestamps[places].tolist()
    return first, second


def leave_one_out(log: InteractionLog) -> Split:
    """Each user's last interaction is the test, the one before it validation, the others training.

    Users with fewer than three are only trained on. The convention of the field's papers, and a leak: one user's last
    interaction may be years before another's first, so the model has learnt from other people's future what was going to be
    popular (Ji et al., "A Critical Study on Data Leakage in Recommender System Offline Evaluation", TOIS 2023).

    Raises:
        InvalidInput: no user with three interactions.
    """
    from_end = _places_from_end(checked(log).users, len(log.user_ids))
    enough = np.bincount(log.users, minlength=len(log.user_ids))[log.users] >= _LEAST_PER_USER
    test, validation = enough & (from_end == 0), enough & (from_end == 1)
    return _whole(Split(log.chosen(~test & ~validation), log.chosen(validation), log.chosen(test)))


def _places_from_end(users: I64, count: int) -> I64:
    """For each interaction, how many of the same user follow it."""
    order = np.argsort(users, kind="stable")
    ends = np.cumsum(np.bincount(users, minlength=count))
    places = np.empty(len(users), np.int64)
    places[order] = ends[users[order]] - 1 - np.arange(len(users))
    return places


def _whole(parts: Split) -> Split:
    sizes = {name: part.size for name, part in parts._asdict().items()}
    if not all(sizes.values()):
        told = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise InvalidInput(f"the log cannot be cut in three (interactions: {told}); give a longer one, or other moments")
    return parts
