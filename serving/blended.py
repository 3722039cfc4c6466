"""The online blend as the first source of a request: the learner's own code ranks, over the person's history as it is now."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from time import thread_time
from typing import Final, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from feature_store.session_blob import SessionState
from feature_store.user_blob import UserState
from schemas.events import EventType
from serving.candidates.joining import Wishes, joined, without
from serving.followed_model import FollowedModel
from serving.interests import Interests
from serving.query import RecommendationQuery
from serving.ranking.seeds import Seeds
from serving.sessions import visitor
from stream_workers.models.deep.bank_sources import BankSources
from stream_workers.models.online.columns import History, Proposal

LARGEST_POOL: Final = 640  # at least as many candidates as the bank ever has
# A request that the blend would hold up longer than this lets others go on meanwhile: it moves to a thread.
INLINE_SECONDS: Final = 0.002
_NONE: Final = Wishes()
_MEMORY: Final = 0.95  # of the running mean of what a proposal costs


class Follows(Protocol):
    """Has the newest complete state of the learner's models, or none."""

    @property
    def current(self) -> FollowedModel | None:
        """The models to rank with; the same object until newer ones have arrived completely."""


class Publishes(Protocol):
    """Has the serving versions of the batch models, which may be none (`VersionFollower`)."""

    @property
    def current(self) -> BankSources:
        """One consistent set; another object when any version changes."""

    @property
    def faults(self) -> int:
        """Versions that could not be used."""


class Blended:
    """What the blend proposes.

    Attributes:
        scores: item to the probability that it is what the person takes next, as the blend sees it: the softmax over all its
            candidates. Best first.
        personal: whether the models know anything that the person took. remembered: whether they have learnt from this person.
        blend: the blend's name, with the number of events it has learnt. nearline: the models it stands on. batch: the published
            versions it also stands on; None: none. published: their names as sources.
        ranker: the published version that put the candidates into the order of `scores`; None: it is the blend's own.
    """

    ranker: str | None = None

    def __init__(
        self, proposal: Proposal, published: Sequence[str], past: Sequence[str], seeds: Seeds, nearline: str, personal: bool,
        remembered: bool,
    ) -> None:  # fmt: skip
        self._proposal = proposal._replace(names=_named(proposal.names, published))
        self._past = past
        self._seeds = seeds
        self._rows = {item: row for row, item in enumerate(proposal.items)}
        self.scores: dict[str, float] = dict(zip(proposal.items, shares(proposal.scores).tolist(), strict=True))
        self.personal = personal
        self.remembered = remembered
        self.blend = f"blend@{proposal.learnt}"
        self.nearline = nearline
        self.batch = "+".join(published) or None
        self.published = frozenset(name.partition("@")[0] for name in published)

    def __contains__(self, item: str) -> bool:
        return item in self._rows

    def sources(self, item: str) -> dict[str, float]:
        """What each source says for the item, 1 / sqrt(its place in the source's own list), largest first."""
        return self._proposal.said(self._rows[item])

    def place_before(self, item: str) -> int:
        """The item's place by the blend alone, from 1."""
        return self._rows[item] + 1

    def places(self, item: str) -> dict[str, float]:
        """What the blend and then the ranker say for the item, 1 / sqrt(its place by each); nothing where no ranker was asked."""
        if self.ranker is None:
            return {}
        return {"blend": self.place_before(item) ** -0.5, self.ranker.partition("@")[0]: self._places[item] ** -0.5}

    def ranked_by(self, ranker: str, scores: dict[str, float]) -> Self:
        """The same candidates with the probabilities that a ranker gives them, best first."""
        ranked = copy.copy(self)
        ranked.ranker, ranked.scores = ranker, scores
        return ranked

    @cached_property
    def _places(self) -> dict[str, int]:
        return {item: place for place, item in enumerate(self.scores, 1)}

    def seeds(self, items: Iterable[str]) -> dict[str, str]:
        """Item to the past item that speaks most for it, where one does."""
        known = [item for item in items if item in self._rows]
        places = self._seeds.strongest(self._proposal.codes[[self._rows[item] for item in known]])
        return {item: self._past[place] for item, place in zip(known, places, strict=True) if place >= 0}

    @property
    def proposal(self) -> Proposal:
        """The candidates, as the models proposed them; sources by the names of `sources`."""
        return self._proposal

    def counts(self) -> dict[str, int]:
        """How many of the candidates each source proposed."""
        return dict(zip(self._proposal.names, np.count_nonzero(self._proposal.places, axis=1).tolist(), strict=True))


def _one_thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, "blend")


class Versions(NamedTuple):
    """One set of models that stay what they are, for an answer that is made in several steps."""

    model: FollowedModel
    published: BankSources


class _Asked(NamedTuple):
    """What the models are asked: for whom, what the store knows of them, and what the surface wants."""

    query: RecommendationQuery
    interests: Interests
    state: UserState | None
    session: SessionState | None
    wishes: Wishes
    features: bool


@dataclass
class Blend:
    """Asks the models that were followed: inline while that is quick, in a thread where it is not.

    Attributes:
        seconds: running mean of what a proposal costs.
    """

    models: Follows
    published: Publishes
    seconds: float = 0.0
    _thread: ThreadPoolExecutor = field(default_factory=_one_thread)

    async def propose(
        self, query: RecommendationQuery, interests: Interests, state: UserState | None, session: SessionState | None = None,
        wishes: Wishes = _NONE, versions: Versions | None = None, features: bool = False,
    ) -> Blended | None:  # fmt: skip
        """What the blend proposes of what the person has not had; None while it is untrained or not there.

        Args:
            session: the session model's state after the history of `state`.
            versions: held by whoever asks; None: those of now.
            features: whether to tell what the network saw of each candidate, also where the query does not ask.
        """
        model = versions.model if versions else self.models.current
        asked = _Asked(query, interests, state, session, wishes, features or query.explain)
        if model is None or not model.trained:
            return None
        if self.seconds <= INLINE_SECONDS and model.lock.acquire(blocking=False):
            try:
                if not model.retired:
                    return self._ask(versions or Versions(model, self.published.current), asked)
            finally:
                model.lock.release()
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._ask_in_turn, versions, asked)

    def unheard_of(self, items: Iterable[str]) -> Iterator[str]:
        """Those of the items of which the models have learnt no event; none while there are no models to say so."""
        model = self.models.current
        return model.unheard_of(items) if model else iter(())

    def popular_where(self, contexts: Sequence[str], k: int) -> dict[str, float]:
        """Items to their share of what happens in these contexts, see `context_popularity`; none where nothing is known of them."""
        model = self.models.current
        if model is None or model.contexts is None or not contexts:
            return {}
        items, scores = model.contexts.candidates(contexts, model.newest_ms, k)
        return dict(zip(items, scores.tolist(), strict=True))

    def close(self) -> None:
        """End the thread. Services that are started again get another, when they need one."""
        self._thread.shutdown(wait=False)
        self._thread = _one_thread()

    @contextmanager
    def held(self) -> Iterator[Versions | None]:
        """The versions of now, which stay what they are as long as they are held; None: there are none. On the event loop."""
        model = self.models.current
        while model is not None and not model.hold():
            model = self.models.current
        try:
            yield Versions(model, self.published.current) if model is not None else None
        finally:
            if model is not None:
                model.release()

    def _ask_in_turn(self, versions: Versions | None, asked: _Asked) -> Blended | None:
        while (model := versions.model if versions else self.models.current) is not None and model.trained:
            with model.lock:
                if not model.retired:  # while this waited, its bank may have become another version
                    return self._ask(versions or Versions(model, self.published.current), asked)
        return None

    def _ask(self, versions: Versions, asked: _Asked) -> Blended:
        started = thread_time()  # not the time that others had the core
        model, sources = versions
        query, interests, state, session, wishes, features = asked
        moment = max(model.newest_ms, state.newest if state else 0)
        history = history_of(query, interests, state, moment)
        said = None
        if sources:
            said = sources.ask(history, moment, model.bank.items, None if _said(query, interests) else session)
        proposal = model.bank.recommend(history, moment, LARGEST_POOL, interests.seen, said, interests.again, features)
        if wishes.silent or wishes.listed:
            proposal = _wished(model, proposal._replace(names=_named(proposal.names, sources.names)), wishes)
        past, seeds = model.seeds(history, moment)
        personal, remembered = model.knows(history.items), model.remembers(history.user_id)
        found = Blended(proposal, sources.names, past, seeds, model.name, personal, remembered)
        self.seconds = _MEMORY * self.seconds + (1 - _MEMORY) * (thread_time() - started)
        return found


def _wished(model: FollowedModel, proposal: Proposal, wishes: Wishes) -> Proposal:
    """What a surface makes of the proposal."""
    heard = without(proposal, wishes.silent)
    return joined(model.bank, heard, wishes.listed) if wishes.listed else heard


def history_of(query: RecommendationQuery, interests: Interests, state: UserState | None, moment: int) -> History:
    """What the person did, newest first: what the request itself says, as clicks at this moment, then what the store knows.

    Where nothing is known of the person, the item of the page stands in.
    """
    said = _said(query, interests)
    known = [entry for entry in state.history if entry.item_id not in said] if state else []
    return History(
        user_id=visitor(query.user_id, query.session_id),
        items=said + [entry.item_id for entry in known],
        types=np.array([EventType.CLICK] * len(said) + [entry.type for entry in known], np.uint8),
        timestamps=np.array([moment] * len(said) + [entry.timestamp for entry in known], np.int64),
    )


def _said(query: RecommendationQuery, interests: Interests) -> list[str]:
    """What the request itself says that the person took, each once."""
    return list(dict.fromkeys([*query.recent_items, *([interests.page] if interests.page else [])]))


def mixed(scores: Mapping[str, float], others: Mapping[str, float], share: float) -> dict[str, float]:
    """The weighted mean of two probabilities of each item, best first.

    >>> mixed({"a": 0.5, "b": 0.25}, {"b": 0.5}, 0.5)
    {'b': 0.375, 'a': 0.25}
    """
    both = {item: (1 - share) * scores.get(item, 0.0) + share * others.get(item, 0.0) for item in {**scores, **others}}
    return dict(sorted(both.items(), key=lambda pair: -pair[1]))


def _named(sources: Sequence[str], published: Sequence[str]) -> tuple[str, ...]:
    """The bank's sources, those for batch models by the names of what is published there.

    >>> _named(("softmax_mf", "batch_1", "batch_2"), ("session_rnn@20261123T004512Z-3f9a1c",))
    ('softmax_mf', 'session_rnn', 'batch_2')
    """
    names = {f"batch_{n}": name.partition("@")[0] for n, name in enumerate(published, 1)}
    return tuple(names.get(source, source) for source in sources)


def shares(scores: NDArray[np.float32]) -> NDArray[np.float64]:
    """Softmax of float32[n].

    >>> shares(np.array([0.0, 0.0], np.float32)).tolist()
    [0.5, 0.5]
    """
    if not len(scores):
        return np.zeros(0)
    weights = np.exp(scores.astype(np.float64) - float(scores.max()))
    return np.asarray(weights / weights.sum(), np.float64)
