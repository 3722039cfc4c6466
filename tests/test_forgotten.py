"""After forgetting: replicas follow, who was taken out is gone, and what comes back is known again."""

from __future__ import annotations

import numpy as np

from evaluation.prequential import replay
from evaluation.protocol import questions
from feature_store.keys import MODEL_INDEX
from feature_store.memory import MemoryStore
from feature_store.model_pages import PageWriter, Replica
from schemas.events import EventType
from serving.followed_model import bring_up
from stream_workers.handlers.interactions import FORGET
from stream_workers.handlers.learning_stage import LearningStage
from stream_workers.learner_shelf import LearnerShelf
from stream_workers.models.online.bank import ModelBank
from stream_workers.models.online.compaction import keep_users
from stream_workers.models.online.world import World
from tests.online_models import MINUTE, NONE, SMALL, START, clicks, copied, differences, full_bank, learn, mixed
from tests.test_learner import merged


def test_replicas_follow_what_was_forgotten() -> None:
    """One that takes over everything, and one that patches what it had, as the API does."""
    bank, pages, replica, blobs = ModelBank(SMALL), PageWriter(1, "x"), Replica(), dict[bytes, bytes]()
    patched, held, lengths = ModelBank(SMALL), None, []
    for number in range(8):
        if number % 2:
            bank.forget(bank.users.ids[number])
        else:
            learn(bank, mixed(60, seed=number, users=80, items=90))
        changes = pages.changes(bank.state(), bank.learnt, number)
        blobs = {key: blob for key, blob in {**blobs, **changes.puts}.items() if key not in changes.deletes}
        assert replica.take([blobs.get(place.key) for place in replica.wanted(blobs[MODEL_INDEX])])
        assert replica.index is not None
        loaded = ModelBank(SMALL)
        loaded.load(replica.state)
        bring_up(patched, held, replica.index, replica.state)
        held = replica.index
        for follower in (loaded, patched):
            assert differences(bank.state(), follower.state()) == []
            assert follower.recommend(NONE, START, 10).items == bank.recommend(NONE, START, 10).items
            assert [follower.users.code(f"u{n}") for n in range(80)] == [bank.users.code(f"u{n}") for n in range(80)]
        lengths.append(len(bank.state()["items.text"]))
    assert min(np.diff(lengths)) < 0, "rows became fewer at least once"


def test_someone_forgotten_leaves_nothing_behind() -> None:
    bank = full_bank()
    learn(bank, clicks(["eve-4711"] * 5, ["i1", "i2", "i3", "i4", "i5"], START + 500 * MINUTE))
    code = bank.users.code("eve-4711")
    bank.forget("eve-4711")
    state = bank.state()
    assert all(b"eve-4711" not in array.tobytes() for array in state.values())
    assert bank.users.code("eve-4711") == -1
    assert not (state["log.user"] == code).any()
    for name in ("vectors.personal", "softmax_mf.users", "bpr.users", "isgd.users", "log.user_events"):
        assert not state[name][code].any(), name
    assert state["log.user_last"][code] == -1
    assert (state["log.prev_user"][190:195] == -1).all()
    assert (state["log.next_user"][190:195] == -1).all()
    assert (state["log.item"][190:195] == -1).all()
    follower = ModelBank(SMALL)
    follower.load(copied(state))
    assert differences(follower.state(), bank.state()) == []
    for one in (bank, follower):
        assert one.users.code("eve-4711") == one.users.code("") == -1
        learn(one, clicks(["eve-4711", "u1"], ["i1", "i2"], START + 600 * MINUTE))
        assert one.users.code("eve-4711") == code + 1
    assert differences(follower.state(), bank.state()) == []
    bank.forget("never seen")
    assert differences(follower.state(), bank.state()) == []


def test_forgotten_people_go_first_when_room_is_needed() -> None:
    bank = ModelBank(SMALL)
    learn(bank, clicks([f"u{n}" for n in range(30)], ["i1"] * 30))
    for n in (20, 25, 29):
        bank.forget(f"u{n}")
    learn(bank, clicks(["newcomer"], ["i1"], START + 100 * MINUTE))
    assert "" not in bank.users.ids
    assert bank.users.ids == [f"u{n}" for n in range(3, 30) if n not in (20, 25, 29)] + ["newcomer"]


def test_what_is_described_is_known_again_when_the_item_comes_back() -> None:
    bank = full_bank()
    row = bank.state()["content.categories"][bank.items.code("i3")].tolist()
    learn(bank, clicks(["u1"] * 200, [f"new{n}" for n in range(200)], START + 10_000 * MINUTE))
    assert bank.items.code("i3") == -1
    learn(bank, clicks(["u1"], ["i3"], START + 20_000 * MINUTE))
    code = bank.items.code("i3")
    assert bank.state()["content.categories"][code].tolist() == row
    assert bank.state()["content.year"][code] == 1983


def test_users_that_go_leave_events_without_a_chain() -> None:
    bank = full_bank()
    users = bank.users.ids
    owners = [users[c] for c in bank.state()["log.user"][:190].tolist()]
    kept = np.arange(0, 20, 3)
    keep_users(bank._world, bank._axes, kept, 20)
    world: World = bank._world
    left = [users[c] for c in kept.tolist()]
    for e, owner in enumerate(owners):
        code = world.log.user[e]
        assert (left[code] if code >= 0 else None) == (owner if owner in left else None)
        if code < 0:
            assert world.log.prev_user[e] == world.log.next_user[e] == -1
        elif world.log.prev_user[e] >= 0:
            assert owners[world.log.prev_user[e]] == owner
    assert len(bank.recommend(NONE, START, 10).items) == 10


def test_the_replay_counts_lists_by_item_wherever_chunks_end() -> None:
    batch = clicks([f"u{n % 45}" for n in range(200)], [f"i{n // 2}" if n % 2 else f"i{n % 7}" for n in range(200)])
    ranked = questions(batch, "A")
    whole, cut_up = (replay(ModelBank(SMALL), batch, ranked, 0, chunk=chunk) for chunk in (1000, 1))
    assert whole.exposure.sum() > 500
    width = whole.exposure.shape[1]
    assert np.array_equal(whole.exposure, cut_up.exposure[:, :width])
    assert not cut_up.exposure[:, width:].any()
    assert np.array_equal(whole.ranks, cut_up.ranks)


async def test_nothing_in_the_store_tells_of_someone_forgotten() -> None:
    """Neither a page that nobody changed since nor the delta of an earlier commit."""
    store, bank, secrets = MemoryStore(), ModelBank(SMALL), set[bytes]()
    shelf = await LearnerShelf.open(store, lambda: LearningStage(bank, 0.0, repeats=False), "a", 1)
    everybody = [(f"u{n}", f"i{n}", int(EventType.CLICK)) for n in range(20)]
    for number in range(6):
        shelf.stage.apply(merged([*everybody, ("eve-4711", f"i{number}", int(EventType.CLICK))]))
        await shelf.commit({"clicks:0": number}, number)
        code, state = bank.users.code("eve-4711"), shelf.stage.state()
        rows = (state[name][code] for name in ("vectors.personal", "softmax_mf.users", "bpr.users", "isgd.users"))
        secrets |= {row.tobytes()[:16] for row in rows if row.any()}
    found = {secret for secret in secrets if any(secret in blob for blob in store.blobs.values())}
    assert len(found) > 8, "vectors of more than the last commit"
    assert any(b"eve-4711" in blob for blob in store.blobs.values())
    shelf.stage.apply(merged([("eve-4711", "", FORGET)]))
    await shelf.commit({"clicks:0": 6}, 6)
    assert not any(secret in blob for blob in store.blobs.values() for secret in (b"eve-4711", *secrets))
    again = await LearnerShelf.open(store, lambda: LearningStage(ModelBank(SMALL), 0.0, repeats=False), "a", 2)
    assert again.stage.events == 6 * 21
    assert differences(again.stage.state(), shelf.stage.state()) == []
