"""Candidates of others among those of the online blend: scored by it where its models know the item, placed by rank where not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain, compress
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from serving.candidates.answer import OwnAnswer
from serving.candidates.source import Asked
from serving.candidates.sources import Given
from serving.interests import Interests
from serving.plan import Plan
from serving.query import RecommendationQuery
from serving.ranking.fusion import fuse, interleaved, votes
from stream_workers.models.online.columns import Proposal
from stream_workers.models.scoring_bank import ScoringBank


class Listed(NamedTuple):
    """What a source proposes: different items, best first, and its weight in the fusion of ranks."""

    items: Sequence[str]
    weight: float


class Wishes(NamedTuple):
    """What a surface wants of the online blend.

    Attributes:
        silent: sources inside it that propose nothing. listed: others, by name, whose candidates join.
    """

    silent: frozenset[str] = frozenset()
    listed: Mapping[str, Listed] = {}


def wishes_of(query: RecommendationQuery, interests: Interests, plan: Plan, given: Mapping[str, OwnAnswer]) -> Wishes:
    """The wishes of a plan, with what of the answers may come at all."""
    answers = {name: answer.items for name, answer in given.items() if answer.items}
    asked = Asked(interests, max(map(len, answers.values()), default=0), only=query.candidates, given=answers)
    listed = {name: Listed(Given(name).candidates(asked).items, plan.own[name]) for name in answers}
    return Wishes(plan.surface.sources.silent, listed)


def without(proposal: Proposal, silent: frozenset[str]) -> Proposal:
    """The proposal without the candidates that only silent sources have."""
    heard = np.array([name not in silent for name in proposal.names], np.bool_)
    if heard.all():
        return proposal
    quiet = proposal._replace(places=np.where(heard[:, None], proposal.places, np.int32(0)))
    return _columns(quiet, np.flatnonzero(quiet.places.any(axis=0)))


def joined(bank: ScoringBank, proposal: Proposal, listed: Mapping[str, Listed]) -> Proposal:
    """The proposal that the bank made last, with the candidates of others, each of them a source with a list of its own.

    An item that the models know has their score. One that they know nothing of stands where the fusion of ranks puts it between
    those that they know, with the score of the one before it. What must not be shown to the person does not come.
    """
    proposed = set(proposal.items)
    names = [item for item in dict.fromkeys(chain.from_iterable(one.items for one in listed.values())) if item not in proposed]
    found = bank.beside(proposal, names)
    may_come = ~np.isnan(found)
    added, scores = list(compress(names, may_come)), found[may_come]
    whole = _extended(proposal, added, np.array(bank.items.known(added), np.int32), scores)
    known = np.argsort(-whole.scores, kind="stable")[: len(whole.items) - int(np.isneginf(scores).sum())]
    return _marked(_fused(whole, known, listed), listed)


def _extended(proposal: Proposal, items: list[str], codes: NDArray[np.int32], scores: NDArray[np.float32]) -> Proposal:
    """The proposal with more items, which are on no list yet, behind its own."""
    count, features = len(items), proposal.features
    return proposal._replace(
        items=[*proposal.items, *items],
        codes=np.concatenate((proposal.codes, codes)),
        scores=np.concatenate((proposal.scores, scores)),
        places=np.pad(proposal.places, ((0, 0), (0, count))),
        features=None if features is None else np.pad(features, ((0, 0), (0, count)), constant_values=np.nan),
    )


def _fused(whole: Proposal, known: NDArray[np.int64], listed: Mapping[str, Listed]) -> Proposal:
    """The known items (int64[n], best first), with the others between them."""
    rows = {item: row for row, item in enumerate(whole.items)}
    first = [whole.items[row] for row in known.tolist()]
    unknown = rows.keys() - set(first)
    said = fuse({name: votes(source.items, source.weight) for name, source in listed.items()})
    order = interleaved(first, {item: vote for item, vote in said.items() if item in unknown})
    scores = whole.scores.copy()
    before = scores[known[0]] if len(known) else np.float32(0.0)
    for row in (rows[item] for item in order):
        if np.isneginf(scores[row]):
            scores[row] = before
        before = scores[row]
    return _columns(whole._replace(scores=scores), np.array([rows[item] for item in order], np.int64))


def _marked(proposal: Proposal, listed: Mapping[str, Listed]) -> Proposal:
    """The proposal with the places that its items have in the others' lists."""
    own = np.zeros((len(listed), len(proposal.items)), np.int32)
    for row, source in enumerate(listed.values()):
        places = {item: place for place, item in enumerate(source.items, 1)}
        own[row] = [places.get(item, 0) for item in proposal.items]
    return proposal._replace(names=(*proposal.names, *listed), places=np.concatenate((proposal.places, own)))


def _columns(proposal: Proposal, kept: NDArray[np.int64]) -> Proposal:
    """Some of the candidates, in this order."""
    return proposal._replace(
        items=[proposal.items[row] for row in kept.tolist()],
        codes=proposal.codes[kept],
        scores=proposal.scores[kept],
        places=proposal.places[:, kept],
        features=None if proposal.features is None else proposal.features[:, kept],
    )
