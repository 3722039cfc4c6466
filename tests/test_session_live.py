"""Real servers: workers keep session states, one of them is killed in the middle, and every event moved its state once."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import httpx
import numpy as np
import pytest

from feature_store.keys import session_key, user_key
from feature_store.session_blob import SessionState, session_of
from schemas.ids import partition_of
from tests.live import Live, Record, event, wait_until
from tests.session_world import ITEMS, START, encoded, publish_session, recurrent

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(300)]
USERS, EACH = 200, 30


def clicks(first: int, count: int) -> list[Record]:
    """The n-th click of each user, for some n, a second apart; every user has another item."""
    return [
        ("clicks", f"u{u}", event(f"u{u}", ITEMS[(7 * u + n) % 40], START + 1000 * n + u, event_id=f"{u}-{n}"))
        for n in range(first, first + count)
        for u in range(USERS)
    ]


def feed_slowly(live: Live) -> None:
    """All clicks in a few seconds: one commit must not cover all that is there, or there is no middle to be killed in."""
    for first in range(0, EACH, 5):
        live.produce(clicks(first, 5))
        time.sleep(0.7)


def stored(live: Live, user: str) -> SessionState | None:
    partition = partition_of(user, live.settings.partitions)
    blob, session = live.redis.mget(user_key(partition, user), session_key(partition, user))
    return session_of(blob or b"", session)


def reported(live: Live, pid: int, name: str) -> object:
    """What a worker's heartbeat says of the states."""
    return next((beat["sessions"][name] for beat in live.heartbeats() if beat.get("pid") == pid), None)


def check(live: Live, seed: int, steps: int) -> None:
    """Every state is the one that the model makes of the user's history, and stands for so many events."""
    scorer = recurrent(seed)
    for user in (f"u{u}" for u in range(USERS)):
        found, known = stored(live, user), live.user(user)
        assert found is not None, user
        assert known is not None, user
        assert found.steps == len(known.history) == steps, user
        np.testing.assert_allclose(found.state, encoded(scorer, known.history), atol=1e-4)


def test_states_are_stepped_once_each_whoever_is_killed_and_follow_a_new_version(live: Live, tmp_path: Path) -> None:
    version = publish_session(tmp_path, 1)
    settings = {"learner": False, "models": tmp_path, "batch_sources": "session_rnn", "batch_events": 100}
    first = live.worker(**settings)
    feeder = threading.Thread(target=feed_slowly, args=(live,))
    feeder.start()
    wait_until(lambda: live.applied() > USERS, 60, "the worker to apply events")
    live.stop(first, kill=True)
    done = live.applied()
    feeder.join()
    assert 0 < done < USERS * EACH, "killed too early or too late to prove anything"
    second = live.worker(**settings)
    live.settle(120)
    check(live, 1, EACH)
    assert reported(live, second.pid, "model") == f"session_rnn@{version}"
    assert reported(live, second.pid, "encodings_total") == 0, "states go on where the killed worker left them"
    newer = publish_session(tmp_path, 2)
    wait_until(lambda: reported(live, second.pid, "model") == f"session_rnn@{newer}", 30, "the worker to follow")
    live.produce(clicks(EACH, 1))
    live.settle()
    check(live, 2, EACH + 1)
    wait_until(lambda: reported(live, second.pid, "encodings_total") == USERS, 10, "each state to have been made anew once")
    url = live.api(models=tmp_path, batch_sources="session_rnn")
    page = httpx.get(f"{url}/v1/users/u0").json()
    assert page["features"]["session"] == {"model": f"session_rnn@{newer}", "steps": EACH + 1}
    live.produce([("users", "u0", None)])
    key = session_key(partition_of("u0", live.settings.partitions), "u0")
    wait_until(lambda: live.redis.get(key) is None, 20, "the state of a forgotten user to go")
    live.stop(second)
