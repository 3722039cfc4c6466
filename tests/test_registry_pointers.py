"""Which version serves: only whole ones, only through the gate, one writer at a time, and back again with one command."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from batch.registry import folders, pointers
from batch.registry.pointers import Note, promote, rollback, set_shadow
from batch.registry.retention import prune
from feature_store.model_versions import version_names
from feature_store.version_manifest import CorruptVersion
from feature_store.version_pointers import STATE, Pointers, read_state
from schemas.errors import InvalidInput, LayoutMismatch
from tests.published_versions import MODEL, NOON, NOTE, damage, forced, passed, published

NOBODY = "20300101T000000Z-abcdef"


@pytest.fixture
def versions(tmp_path: Path) -> list[str]:
    """Four, oldest first."""
    return [published(tmp_path, seed) for seed in (1, 2, 3, 4)]


def pointing(root: Path) -> tuple[str | None, str | None, str | None]:
    state = read_state(root, MODEL)
    return state.serving, state.shadow, state.previous


# --- promote --------------------------------------------------------------------------------------------------------------


def test_a_version_that_passed_the_gate_serves_and_the_way_there_is_written_down(tmp_path: Path, versions: list[str]) -> None:
    first, second, *_ = versions
    passed(tmp_path, first, None)
    promote(tmp_path, MODEL, first, NOTE)
    set_shadow(tmp_path, MODEL, second, Note(NOON + 1, "bob", "a week beside it"))
    passed(tmp_path, second, first)
    state = promote(tmp_path, MODEL, second, Note(NOON + 2, "bob", "better"))
    assert state == read_state(tmp_path, MODEL)
    assert (state.serving, state.shadow, state.previous, state.generation) == (second, None, first, 5)
    told = [(one.action, one.before, one.after, one.by, one.reason, one.at_ms - NOON, one.forced) for one in state.history]
    assert told == [
        ("promote", None, first, "ann", "because", 0, False),
        ("shadow", None, second, "bob", "a week beside it", 1, False),
        ("promote", first, second, "bob", "better", 2, False),
    ]
    assert state.history[-1].metrics == {"recall@10": 0.25, "ndcg@10": 0.125}


def test_without_the_gate_a_version_serves_only_by_force(tmp_path: Path, versions: list[str]) -> None:
    first, second, third, _ = versions
    with pytest.raises(InvalidInput, match=r"the gate has not judged it; judge it.*--force"):
        promote(tmp_path, MODEL, first, NOTE)
    passed(tmp_path, first, None, promote=False)
    with pytest.raises(InvalidInput, match="the gate refused it: It says so; judge it"):
        promote(tmp_path, MODEL, first, NOTE)
    assert promote(tmp_path, MODEL, first, NOTE, force=True).history[-1].forced
    passed(tmp_path, second, first)
    passed(tmp_path, third, first)
    promote(tmp_path, MODEL, second, NOTE)
    with pytest.raises(InvalidInput, match=f"compared it with {first}, and now {second} serves"):
        promote(tmp_path, MODEL, third, NOTE)
    assert pointing(tmp_path) == (second, None, first)


@pytest.mark.parametrize("move", [lambda *where: promote(*where, NOTE, force=True), lambda *where: set_shadow(*where, NOTE)])
def test_no_pointer_moves_to_what_is_damaged_or_not_there(
    tmp_path: Path, versions: list[str], move: Callable[[Path, str, str], object]
) -> None:
    first, second, third, _ = versions
    forced(tmp_path, first)
    set_shadow(tmp_path, MODEL, third, NOTE)
    before = (tmp_path / MODEL / STATE).read_bytes()
    damage(tmp_path, second)
    with pytest.raises(CorruptVersion, match="SHA-256"):
        move(tmp_path, MODEL, second)
    for name, said in ((NOBODY, "has no version"), ("../x", "has no version"), (first, "serves")):
        with pytest.raises(InvalidInput, match=said):
            move(tmp_path, MODEL, name)
    with pytest.raises(InvalidInput, match="there are: ease"):
        move(tmp_path, "two_tower", second)
    assert (tmp_path / MODEL / STATE).read_bytes() == before


def test_the_gate_says_nothing_of_what_is_damaged_or_not_there(tmp_path: Path, versions: list[str]) -> None:
    damage(tmp_path, versions[0])
    with pytest.raises(CorruptVersion):
        passed(tmp_path, versions[0], None)
    with pytest.raises(InvalidInput, match="has no version"):
        passed(tmp_path, NOBODY, None)
    assert read_state(tmp_path, MODEL).generation == 0


# --- roll back ------------------------------------------------------------------------------------------------------------


def test_rollback_goes_back_one_version_at_a_time(tmp_path: Path, versions: list[str]) -> None:
    forced(tmp_path, *versions[:3])
    assert rollback(tmp_path, MODEL, NOTE).serving == versions[1]
    state = rollback(tmp_path, MODEL, NOTE)
    assert (state.serving, state.previous) == (versions[0], None)
    assert [(one.action, one.after) for one in state.history][3:] == [("rollback", versions[1]), ("rollback", versions[0])]
    with pytest.raises(InvalidInput, match=f"no version served before {versions[0]}"):
        rollback(tmp_path, MODEL, NOTE)


def test_what_was_rolled_back_is_not_promoted_again_by_the_old_verdict(tmp_path: Path, versions: list[str]) -> None:
    first, second, *_ = versions
    forced(tmp_path, first)
    passed(tmp_path, second, first)
    promote(tmp_path, MODEL, second, NOTE)
    rollback(tmp_path, MODEL, NOTE)
    with pytest.raises(InvalidInput, match="has not judged it"):
        promote(tmp_path, MODEL, second, NOTE)


def test_rollback_to_a_damaged_version_leaves_what_serves(tmp_path: Path, versions: list[str]) -> None:
    forced(tmp_path, *versions[:2])
    damage(tmp_path, versions[0])
    with pytest.raises(CorruptVersion):
        rollback(tmp_path, MODEL, NOTE)
    assert pointing(tmp_path) == (versions[1], None, versions[0])


def test_the_history_does_not_grow_without_end(tmp_path: Path, versions: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pointers, "KEPT_CHANGES", 3)
    monkeypatch.setattr(pointers, "KEPT_EARLIER", 2)
    forced(tmp_path, *(versions[at % 2] for at in range(7)))
    state = read_state(tmp_path, MODEL)
    assert (len(state.history), state.earlier, state.generation) == (3, (versions[0], versions[1]), 7)


# --- several writers ------------------------------------------------------------------------------------------------------


def test_no_change_of_concurrent_writers_is_lost(tmp_path: Path, versions: list[str]) -> None:
    def move(at: int) -> None:
        if at % 3 == 0:
            passed(tmp_path, versions[at % 4], f"round {at}")
        else:
            set_shadow(tmp_path, MODEL, versions[at % 4], Note(NOON, f"writer {at}", ""))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(move, range(48)))
    state = read_state(tmp_path, MODEL)
    assert state.generation == 48
    assert sorted(one.by for one in state.history) == sorted(f"writer {at}" for at in range(48) if at % 3)
    chain = [(one.before, one.after) for one in state.history]
    assert [before for before, _ in chain[1:]] == [after for _, after in chain[:-1]]


def test_processes_exclude_each_other(tmp_path: Path, versions: list[str]) -> None:
    children = []
    for number in range(3):
        child = os.fork()
        if not child:
            try:
                for at in range(8):
                    set_shadow(tmp_path, MODEL, versions[at % 4], Note(NOON, f"child {number}", ""))
            finally:
                os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    assert read_state(tmp_path, MODEL).generation == 24


# --- the state file -------------------------------------------------------------------------------------------------------


def test_who_is_reading_a_state_while_it_is_replaced_reads_a_whole_one(tmp_path: Path, versions: list[str]) -> None:
    forced(tmp_path, versions[0])
    with (tmp_path / MODEL / STATE).open() as reading:
        begun = reading.read(10)
        forced(tmp_path, versions[1])
        assert json.loads(begun + reading.read())["serving"] == versions[0]
    assert read_state(tmp_path, MODEL).serving == versions[1]


def test_nothing_promoted_yet_is_an_empty_state(tmp_path: Path) -> None:
    assert read_state(tmp_path / "nowhere", MODEL).pointers == Pointers(None, None)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", CorruptVersion),
        ('{"schema_version": 1, "serving": ', CorruptVersion),
        ('{"schema_version": 1, "serving": 7}', CorruptVersion),
        ('{"schema_version": 1, "surprise": 7}', CorruptVersion),
        ('{"schema_version": 2}', LayoutMismatch),
    ],
)
def test_a_state_that_cannot_be_read_stops_everything_that_would_rely_on_it(
    tmp_path: Path, versions: list[str], text: str, error: type[Exception]
) -> None:
    path = tmp_path / MODEL / STATE
    path.write_text(text)
    for act in (
        lambda: read_state(tmp_path, MODEL),
        lambda: promote(tmp_path, MODEL, versions[0], NOTE, force=True),
        lambda: prune(tmp_path, MODEL, 1),
    ):
        with pytest.raises(error, match="state"):
            act()
    assert path.read_text() == text
    assert version_names(tmp_path, MODEL) == tuple(versions)


@pytest.mark.parametrize("linked", [STATE, folders.LOCK])
def test_a_state_or_lock_that_is_a_link_is_not_followed(tmp_path: Path, versions: list[str], linked: str) -> None:
    outside = tmp_path / "outside"
    outside.write_text(json.dumps({"schema_version": 1, "serving": versions[0]}))
    (tmp_path / MODEL / linked).unlink(missing_ok=True)
    (tmp_path / MODEL / linked).symlink_to(outside)
    with pytest.raises((CorruptVersion, folders.NotStored)):
        promote(tmp_path, MODEL, versions[1], NOTE, force=True)
    assert json.loads(outside.read_text())["serving"] == versions[0]
