"""What every online model can do, in the spirit of river: learn a few events, score, propose, and be stored.

The bank runs all models together in compiled code, because they share one log and one user at a time. `standalone` runs the same
kernels one model at a time behind this interface: to compare, to test, to use a single one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from stream_workers.models.online.columns import History, Interactions
from stream_workers.models.online.numeric import F32, I64

UNSEEN: Final = np.float32(-1e30)
"""Score of an item that nothing was learnt of: below all others, and finite."""


class UserState(NamedTuple):
    """A person at a moment: what a model may know when it is asked.

    Attributes:
        user_id: None for somebody unknown.
        items: ids, newest first. types: uint8[n], codes of `schemas.events.EventType`. timestamps: int64[n], event time in ms.
        now_ms: the moment that is asked about.
    """

    user_id: str | None
    items: list[str]
    types: NDArray[np.uint8]
    timestamps: I64
    now_ms: int

    @classmethod
    def clicked(cls, user_id: str | None, items: Sequence[str], now_ms: int) -> Self:
        """Somebody who clicked these items, newest first, just now.

        >>> UserState.clicked("ann", ["a", "b"], 5).timestamps.tolist()
        [5, 5]
        """
        return cls(user_id, list(items), np.ones(len(items), np.uint8), np.full(len(items), now_ms, np.int64), now_ms)

    @property
    def history(self) -> History:
        """Without the moment."""
        return History(self.user_id, self.items, self.types, self.timestamps)


class OnlineModel(ABC):
    """A model that learns event by event.

    What it was told in a different number of batches it knows alike. It keeps to its bounds on memory by forgetting what matters
    least. It does not change what it is given, and draws random numbers from its own state alone.

    >>> import numpy as np
    >>> from stream_workers.models.online.single_models import AllTimePopularity
    >>> model = AllTimePopularity()
    >>> model.learn_many(Interactions.taken(["ann", "bob", "bob"], ["x", "x", "y"], np.array([1, 2, 3])))
    >>> model.candidates(UserState.clicked("eve", [], 4), 2), model.candidates(UserState.clicked("ann", [], 4), 2)
    (['x', 'y'], ['y'])
    >>> model.score(UserState.clicked("eve", [], 4), ["y", "x", "never seen"]).tolist()[:2]
    [1.0, 2.0]
    """

    name: ClassVar[str]

    @abstractmethod
    def learn_many(self, batch: Interactions) -> None:
        """Learn E events in order."""

    @abstractmethod
    def score(self, user_state: UserState, items: Sequence[str]) -> F32:
        """How much the person is likely to take each item now: float32[n], comparable within one call, higher is better.

        Args:
            items: n ids; one of which nothing was learnt scores `UNSEEN`.
        """

    @abstractmethod
    def candidates(self, user_state: UserState, k: int) -> list[str]:
        """The best k items, at most, best first, without those that must not be shown to the person.

        That is what they are against and, unless `BankSettings.repeats`, what they had.
        """

    @abstractmethod
    def state(self) -> dict[str, NDArray[Any]]:
        """Every array by name, axis 0 = rows, fixed dtypes; views, so copy what must not change."""

    @abstractmethod
    def load(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `state` gave; learning goes on as if it had never stopped.

        Raises:
            InvalidSettings, KeyError, ValueError: it is the state of another model or of other settings; throw this model away.
        """
