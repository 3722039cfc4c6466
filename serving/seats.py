"""What the API processes of one machine have in common, and the place that each has in it."""

from __future__ import annotations

import asyncio
import mmap
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from time import monotonic
from typing import Final

import numpy as np

from feature_store.shared_slots import Slots

_POLL_SECONDS: Final = 0.02
_WAIT_SECONDS: Final = 10.0


class State(IntEnum):
    """Of a process: it takes no requests; it takes some and cannot answer them from everything yet; it can."""

    ABSENT = 0
    STARTING = 1
    READY = 2


class Board:
    """Which processes can answer, a byte each, seen by all that are forked from here on."""

    def __init__(self, seats: int) -> None:
        self._states = np.frombuffer(mmap.mmap(-1, seats), np.uint8)

    def __len__(self) -> int:
        return len(self._states)

    def note(self, number: int, state: State) -> None:
        """The state of process `number`, counted from 0."""
        self._states[number] = state

    def count(self, state: State) -> int:
        """How many are in this state."""
        return int(np.count_nonzero(self._states == state))


@dataclass(frozen=True)
class Seat:
    """The place of one API process.

    Attributes:
        number: from 0. slots: where the learner's models are. board: who can answer. counts: folder of what all count.
    """

    number: int
    slots: Slots
    board: Board
    counts: Path

    def note(self, ready: bool) -> None:
        """Say whether this process, which takes requests, can answer them."""
        self.board.note(self.number, State.READY if ready else State.STARTING)

    @property
    def summary(self) -> str:
        """How many can answer."""
        return f"{self.board.count(State.READY)} of {len(self.board)} ready"

    @property
    def all_ready(self) -> bool:
        """Whether every process that takes requests can answer them. One that is not there takes none."""
        return not self.board.count(State.STARTING)

    async def wait(self, ready: Callable[[], bool]) -> None:
        """Where others can answer, wait for a few seconds until this one can too: until then requests are better off with them."""
        deadline = monotonic() + _WAIT_SECONDS
        while self.board.count(State.READY) and not ready() and monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(_POLL_SECONDS)
