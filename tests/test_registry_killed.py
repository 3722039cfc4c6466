"""`kill -9` at every step of publishing, promoting and pruning: never half a version, never half a pointer."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batch.registry.folders import DRAFT, LOCK
from batch.registry.pointers import promote, rollback
from batch.registry.retention import prune
from feature_store.model_versions import read_version, version_names
from feature_store.version_pointers import read_state
from tests.published_versions import MODEL, NOTE, published

ROOT = Path(__file__).parents[1]
MOST_STEPS = 400


def killed_at(step: int, root: Path, act: Callable[[], object]) -> bool:
    """Fork, act, and die by SIGKILL when Python is about to touch the file system for the n-th time; False: it never came to it."""
    child = os.fork()
    if not child:
        try:
            sys.addaudithook(_Death(step, str(root)))
            act()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert status in {0, signal.SIGKILL}
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


class _Death:
    """Counts what touches files (open, rename, mkdir, chmod, remove, flock, listing, ...) and kills at the given count."""

    def __init__(self, step: int, root: str) -> None:
        self._left = step
        self._root = root

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and not str(arguments[0]).startswith(self._root):
            return
        if event == "open" or event.startswith(("os.", "fcntl.", "shutil.", "tempfile.", "mmap.")):
            self._left -= 1
            if self._left == -1:  # os.kill is one more such event
                os.kill(os.getpid(), signal.SIGKILL)


def each_step(root: Path, act: Callable[[], object], check: Callable[[], None]) -> int:
    """Kill at every step in turn, check after each; how many steps there were."""
    for step in range(MOST_STEPS):
        if not killed_at(step, root, act):
            return step
        check()
    raise AssertionError(f"more than {MOST_STEPS} steps")


def whole(root: Path) -> set[str]:
    """The versions; each can be read."""
    return {read_version(root, MODEL, version).version for version in version_names(root, MODEL)}


def hidden(root: Path) -> set[str]:
    return {one.name for one in (root / MODEL).iterdir() if one.name.startswith(".")} - {LOCK}


def test_killed_while_publishing(tmp_path: Path) -> None:
    first = published(tmp_path)
    promote(tmp_path, MODEL, first, NOTE, force=True)
    appeared, drafts = [], []

    def check() -> None:
        new = whole(tmp_path) - {first}
        appeared.append(len(new))
        drafts.append(len(hidden(tmp_path)))
        assert read_state(tmp_path, MODEL).serving == first
        for version in new:  # it had appeared before the publisher died; not so the next time
            shutil.rmtree(tmp_path / MODEL / version)

    assert each_step(tmp_path, lambda: published(tmp_path, 2), check) > 20
    assert set(appeared) == {0, 1}
    assert max(drafts) == 1  # each publisher removed the draft of the one that was killed before it
    assert len(whole(tmp_path)) == 2
    assert hidden(tmp_path) == set()


@pytest.mark.parametrize("move", ["promote", "rollback"])
def test_killed_while_a_pointer_moves(tmp_path: Path, move: str) -> None:
    names = [published(tmp_path, seed) for seed in (1, 2, 3)]
    for name in names[:2]:
        promote(tmp_path, MODEL, name, NOTE, force=True)
    after = {"promote": names[2], "rollback": names[0]}[move]
    seen = []

    def act() -> object:
        return rollback(tmp_path, MODEL, NOTE) if move == "rollback" else promote(tmp_path, MODEL, after, NOTE, force=True)

    def check() -> None:
        state = read_state(tmp_path, MODEL)
        assert (state.serving, state.previous) in {(names[1], names[0]), (after, names[1] if move == "promote" else None)}
        seen.append(state.serving)
        if state.serving == after:
            (rollback(tmp_path, MODEL, NOTE) if move == "promote" else promote(tmp_path, MODEL, names[1], NOTE, force=True))

    assert each_step(tmp_path, act, check) > 10
    assert set(seen) == {names[1], after}  # died before and after the move
    assert read_state(tmp_path, MODEL).serving == after


def test_killed_while_pruning(tmp_path: Path) -> None:
    first = published(tmp_path)
    promote(tmp_path, MODEL, first, NOTE, force=True)
    gone = []

    def check() -> None:
        versions = whole(tmp_path)
        gone.append(versions)
        assert first in versions
        assert newest in versions
        assert read_state(tmp_path, MODEL).serving == first
        published(tmp_path, 2)

    published(tmp_path, 2)
    newest = published(tmp_path, 3)
    assert each_step(tmp_path, lambda: prune(tmp_path, MODEL, 1), check) > 10
    assert {len(versions) for versions in gone} == {2, 3}
    assert whole(tmp_path) == {first, newest}
    assert hidden(tmp_path) == set()


LARGE = """
import sys
from pathlib import Path
import numpy as np
from batch.registry.publish import publish
from feature_store.version_manifest import TrainedOn
from stream_workers.models.deep.item_scores import ItemScores
from tests.published_versions import MODEL, facts

items = 1_000_000
ids = [str(row) for row in range(items)]
scores = ItemScores(np.arange(items, dtype=np.float32))
told = facts(trained_on=TrainedOn(first_ms=1, last_ms=2, events=3, users=0, items=items))
print("ready", flush=True)
publish(Path(sys.argv[1]), MODEL, scores, ids, (), told)
print("published", flush=True)
"""


@pytest.mark.parametrize("octets", [1, 5_000_000])
def test_killed_in_the_middle_of_a_file(tmp_path: Path, octets: int) -> None:
    """Not between two calls but within one: as soon as so many bytes of the draft are there."""
    first = published(tmp_path)
    promote(tmp_path, MODEL, first, NOTE, force=True)
    publisher = subprocess.Popen([sys.executable, "-c", LARGE, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert publisher.stdout is not None
    assert publisher.stdout.readline() == "ready\n"
    while publisher.poll() is None and _draft_bytes(tmp_path) < octets:
        time.sleep(0.0005)
    publisher.kill()
    assert publisher.communicate()[0] == ""  # it died before it was done
    assert whole(tmp_path) == {first}
    assert _draft_bytes(tmp_path) >= octets
    second = published(tmp_path, 2)
    assert whole(tmp_path) == {first, second}
    assert hidden(tmp_path) == set()
    assert read_state(tmp_path, MODEL).serving == first


def _draft_bytes(root: Path) -> int:
    try:
        return sum(file.stat().st_size for file in (root / MODEL).glob(f"{DRAFT}*/*"))
    except FileNotFoundError:
        return 0
