"""Whether the own sources that a surfaces file declares answer, as the API would ask them."""

from __future__ import annotations

import asyncio
import os
from typing import Final

from schemas.settings import Settings
from serving.candidates.answer import OwnAnswer
from serving.candidates.own import OwnSources
from serving.metrics import Metrics
from serving.plan import Plan
from serving.query import RecommendationQuery
from serving.surfaces import Surfaces

_TRIES: Final = 3  # the first may pay for what a running API has paid for long ago: modules, a connection


def own_sources() -> OwnSources:
    """Sources by the hosts and tokens of the environment.

    Raises:
        InvalidSettings: a variable is wrong.
    """
    settings = Settings.from_environment(os.environ)
    return OwnSources(settings.allowed_hosts, settings.tokens_by_source, Metrics())


def answers_of(own: OwnSources, surfaces: Surfaces) -> dict[str, OwnAnswer]:
    """What each source of a file without faults answers to the request of a visitor of whom nothing is known."""
    return asyncio.run(_asked(own, surfaces))


def heard(answer: OwnAnswer) -> str:
    """An answer in words.

    >>> heard(OwnAnswer(("7",))), heard(OwnAnswer(failure="timeout"))
    ('answers, 1 items', 'does not answer: timeout')
    """
    return f"does not answer: {answer.failure}" if answer.failure else f"answers, {len(answer.items)} items"


async def _asked(own: OwnSources, surfaces: Surfaces) -> dict[str, OwnAnswer]:
    own.adopt(surfaces)
    answers: dict[str, OwnAnswer] = {}
    silent = list(surfaces.sources)
    try:
        for _ in range(_TRIES):
            plan = Plan(10, own=dict.fromkeys(silent, 1.0))
            answers |= await own.ask(RecommendationQuery(k=plan.k), plan).answers()
            silent = [name for name, answer in answers.items() if answer.failure]
        return {name: answers[name] for name in surfaces.sources}
    finally:
        await own.stop()
