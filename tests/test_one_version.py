"""One answer is made by one set of versions: models are swapped as fast as they can be while thousands of requests go on."""

from __future__ import annotations

import asyncio
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from batch.registry.pointers import promote
from serving.blended import INLINE_SECONDS, Blend, history_of, shares
from serving.interests import interests_of
from serving.query import RecommendationQuery
from serving.reads import Reads
from serving.services import Services
from stream_workers.models.scoring_bank import ScoringBank
from tests.learned_world import COMEDY, HORROR, MINUTE, Learner, differences, following, learned, same_state
from tests.test_serving_published import NOTE, publish_pairs, services_of
from tests.test_serving_world import NOW, NUMBERS

ANSWERS, COMMITS = 2000, 20
ANN = RecommendationQuery(user_id="ann", k=20)


class Answered(NamedTuple):
    """What an answer says of its versions, and its items with scores."""

    nearline: str
    batch: str | None
    blend: str
    items: list[tuple[str, float]]


class Swapping:
    """A learner that commits again and again, and a published model whose serving version changes; keeps what each of them was.

    Attributes:
        states: of the learner's models by their names. published: by theirs.
    """

    def __init__(self, learner: Learner, services: Services, root: Path) -> None:
        self._learner, self._services, self._root = learner, services, root
        self._versions = [publish_pairs(root, seed) for seed in range(1, 4)]
        self.states: dict[str, dict[str, Any]] = {}
        self.published: dict[str | None, Any] = {}
        self._rng = np.random.default_rng(5)

    async def begin(self) -> None:
        """The blend learns that the published model has something to say: otherwise its versions would all say the same."""
        self._services.blend.published.refresh()  # type: ignore[attr-defined]
        self._learner.bank.sources = self._services.blend.published.current
        self._learner.two_tastes(NOW - 2 * MINUTE, users=20, seed=4)
        await self.commit(0)
        self._keep_published()

    async def commit(self, n: int) -> None:
        users, items = [f"fan{u}" for u in self._rng.integers(40, size=8)], self._rng.choice(HORROR + COMEDY, 8).tolist()
        self._learner.learn(users, items, [NOW + 100 * n + at for at in range(8)])
        self._learner.commit(NOW + n)
        state = {name: array.copy() for name, array in self._learner.bank.state().items()}
        await self._services.models.refresh()
        assert self._services.models.current is not None
        self.states[self._services.models.current.name] = state

    async def publish(self, done: asyncio.Event) -> None:
        for at in count():
            if done.is_set():
                return
            await asyncio.to_thread(promote, self._root, "ease", self._versions[at % 3], NOTE, force=True)
            await asyncio.to_thread(self._services.blend.published.refresh)  # type: ignore[attr-defined]
            self._keep_published()

    async def expected(self, nearline: str, batch: str | None) -> Answered:
        """The answer of exactly these versions."""
        bank, sources = ScoringBank(NUMBERS), self.published[batch]
        bank.load(self.states[nearline])
        recommender = self._services.recommender
        (known,) = await recommender.hydration.people(["ann"], Reads(self._services.store))
        assert known.state is not None
        interests = interests_of(ANN, known.state)
        moment = max(int(bank.state()["popularity.newest"][0]), known.state.newest)
        history = history_of(ANN, interests, known.state, moment)
        said = sources.of(history, moment, bank.items)
        proposal = bank.recommend(history, moment, 640, interests.seen, said)
        scores = shares(proposal.scores).tolist()
        return Answered(nearline, batch, f"blend@{bank.learnt}", list(zip(proposal.items, scores, strict=True))[: ANN.k])

    def _keep_published(self) -> None:
        current = self._services.blend.published.current
        self.published["+".join(current.names)] = current


async def recommended(services: Services, n: int) -> Answered:
    services.blend.seconds = 2 * INLINE_SECONDS if n % 3 else 0.0  # some at once, most in the thread, where they wait their turn
    decision = await services.recommender.recommend(ANN)
    assert decision.blended is not None
    return Answered(decision.blended.nearline, decision.blended.batch, decision.blended.blend, list(decision.chosen))


@pytest.mark.slow
async def test_every_answer_is_that_of_one_combination_of_versions(tmp_path: Path) -> None:
    world, learner = learned()
    services = await services_of(world, tmp_path)
    swapping = Swapping(learner, services, tmp_path)
    await swapping.begin()
    done, seen, numbers = asyncio.Event(), list[Answered](), count()

    async def requests() -> None:
        while not done.is_set():
            seen.append(await recommended(services, next(numbers)))
            await asyncio.sleep(0)

    running = [asyncio.create_task(requests()) for _ in range(30)]
    running.append(asyncio.create_task(swapping.publish(done)))
    for n in count(1):
        await swapping.commit(n)
        if n >= COMMITS and len(seen) >= ANSWERS:
            break
    done.set()
    await asyncio.gather(*running)
    services.blend.close()
    by_versions: dict[tuple[str, str | None], list[Answered]] = {}
    for answer in seen:
        by_versions.setdefault((answer.nearline, answer.batch), []).append(answer)
    print(f"{len(seen)} answers by {len(by_versions)} combinations of versions")
    assert len(by_versions) > COMMITS
    different = set()
    for versions, answers in by_versions.items():
        expected = await swapping.expected(*versions)
        different.add(repr(expected.items))
        for answer in answers:
            assert answer.blend == expected.blend
            assert [item for item, _ in answer.items] == [item for item, _ in expected.items], versions
            assert [score for _, score in answer.items] == pytest.approx([score for _, score in expected.items], rel=1e-5)
    assert len(different) == len(by_versions), "versions that say the same prove nothing"


async def test_a_model_whose_bank_is_another_version_by_now_is_not_asked() -> None:
    world, learner = learned()
    services = await following(world)
    old = services.models.current
    for n in range(2):  # two banks take turns
        learner.learn(["fan1"], [HORROR[n]], [NOW + n])
        learner.commit(NOW + n)
        await services.models.refresh()
    new = services.models.current
    assert old is not None and new is not None and old.retired and not new.retired
    stale = iter([old, old])  # as it was a moment ago: before the lock was there for this thread

    class Late:
        @property
        def current(self) -> Any:
            return next(stale, new)

    blend = Blend(Late(), services.blend.published)
    blended = await blend.propose(ANN, interests_of(ANN, None), None)
    blend.close()
    assert blended is not None and blended.nearline == new.name


async def test_what_is_held_stays_and_the_learner_is_followed_all_the_same() -> None:
    world, learner = learned()
    services = await following(world)
    with services.blend.held() as versions:
        assert versions is not None
        before = {name: array.copy() for name, array in versions.model.bank.state().items()}
        for n in range(4):
            learner.learn(["fan1"], [HORROR[n]], [NOW + n])
            learner.commit(NOW + n)
            await services.models.refresh()
        assert services.models.current is not None and services.models.current.name == "online-1@5"
        assert not differences(before, versions.model.bank.state()) and not versions.model.retired
    held, learnt = versions.model, services.models.current.bank
    assert same_state(learnt, learner.bank) == []
    assert held.retire() and not held.hold()


@pytest.mark.parametrize("path", ["rank", "groups"])
async def test_answers_of_several_steps_are_of_one_version_too(path: str, tmp_path: Path) -> None:
    """The models change between the steps; what is answered is what the first ones say."""
    world, learner = learned()
    services = await following(world)
    bodies = {"rank": {"user_id": "ann", "items": HORROR[10:]}, "groups": {"user_ids": ["ann", "fan1"], "k": 20}}
    address = {"rank": "/v1/rank", "groups": "/v1/groups/recommendations"}[path]
    async with world.client(services=services) as client:
        expected = (await client.post(address, json=bodies[path])).json()
        proposed = services.recommender.proposed

        async def swapping(*args: Any, **others: Any) -> Any:
            decision = await proposed(*args, **others)
            for n in range(3):
                learner.learn([f"fan{u}" for u in range(40)], [COMEDY[n]] * 40, [NOW + 100 * n + u for u in range(40)])
                learner.commit(NOW + n)
                await services.models.refresh()
            return decision

        services.recommender.proposed = swapping  # type: ignore[method-assign]
        answer = (await client.post(address, json=bodies[path])).json()
        services.recommender.proposed = proposed  # type: ignore[method-assign]
        after = (await client.post(address, json=bodies[path])).json()
    assert (answer["models"], answer["items"]) == (expected["models"], expected["items"])
    assert (after["models"], after["items"]) != (expected["models"], expected["items"])
