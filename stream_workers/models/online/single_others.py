"""Two models that are more than kernels over a log: predicted ratings, and the blend of all. See `standalone`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from schemas.events import EventType
from stream_workers.models.online.bank import ModelBank
from stream_workers.models.online.capacity import Room
from stream_workers.models.online.columns import Interactions
from stream_workers.models.online.event_log import new_log
from stream_workers.models.online.interface import UNSEEN, OnlineModel, UserState
from stream_workers.models.online.numeric import F32, I32
from stream_workers.models.online.ratings import Ratings, RatingSettings
from stream_workers.models.online.settings import BankSettings
from stream_workers.models.online.single_models import Logged
from stream_workers.models.online.standalone import Event, StandaloneModel
from stream_workers.models.online.world import LARGEST_POOL

_RATINGS: Final = "ratings."


class PredictedRatings(StandaloneModel[Logged]):
    """The rating that biased matrix factorisation expects, see `ratings`; events that are no ratings teach it nothing."""

    name = "ratings"

    def __init__(self, settings: BankSettings = BankSettings()) -> None:  # noqa: B008 - an immutable value
        super().__init__(settings)
        self.ratings = Ratings(RatingSettings(seed=settings.seed, users=settings.max_users, items=settings.max_items))

    def state(self) -> dict[str, NDArray[Any]]:
        """See `OnlineModel`."""
        return super().state() | {f"{_RATINGS}{name}": array for name, array in self.ratings.state().items()}

    def load(self, state: Mapping[str, NDArray[Any]]) -> None:
        """See `OnlineModel`."""
        super().load(state)
        self.ratings.load({name: state[f"{_RATINGS}{name}"] for name in self.ratings.state()})

    def _empty(self, room: Room) -> Logged:
        return Logged(new_log(room.events, room.users, room.items))

    def _learn(self, event: Event) -> float:
        if event.type == EventType.RATING and not math.isnan(event.value):
            self.ratings.learn(self.users.ids[event.user], self.items.ids[event.item], event.value)
        return 0.0

    def _fill(self, user: int, history: I32, liked: F32, now: float, out: F32) -> None:
        person = self.users.ids[user] if user >= 0 else ""
        out[:] = [self.ratings.predict(person, item) or 0.0 for item in self.items.ids]


class Blended(OnlineModel):
    """All models of the bank and the blend over their candidates.

    Args:
        every: the blend learns from (and ranks) one of so many events; the other models learn from all.

    Attributes:
        bank: the models.
    """

    name = "blend"

    def __init__(self, settings: BankSettings = BankSettings(), every: int = 1) -> None:  # noqa: B008 - an immutable value
        self.bank = ModelBank(settings)
        self._every = every

    def learn_many(self, batch: Interactions) -> None:
        """See `OnlineModel`."""
        numbers = self.bank.learnt + np.arange(len(batch.users))
        self.bank.advance(batch, (batch.weights > 0) & (numbers % self._every == 0), (self.name,))

    def score(self, user_state: UserState, items: Sequence[str]) -> F32:
        """See `OnlineModel`; what is not among the blend's candidates, or must not be shown, scores `UNSEEN` too."""
        proposal = self.bank.recommend(user_state.history, user_state.now_ms, LARGEST_POOL)
        found = dict(zip(proposal.items, proposal.scores.tolist(), strict=True))
        return np.array([found.get(item, UNSEEN) for item in items], np.float32)

    def candidates(self, user_state: UserState, k: int) -> list[str]:
        """See `OnlineModel`."""
        return self.bank.recommend(user_state.history, user_state.now_ms, k).items

    def state(self) -> dict[str, NDArray[Any]]:
        """See `OnlineModel`."""
        return self.bank.state()

    def load(self, state: Mapping[str, NDArray[Any]]) -> None:
        """See `OnlineModel`."""
        self.bank.load(state)
