"""Publishing: a version appears whole and durable, or nothing appears at all."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest

from batch.models.interface import TrainingFailed
from batch.registry import folders
from batch.registry.folders import NotStored
from batch.registry.pointers import Note, promote
from batch.registry.publish import publish
from feature_store.model_versions import read_version, version_names
from feature_store.version_manifest import ARRAYS, CorruptVersion, TrainedOn
from feature_store.version_pointers import STATE
from schemas.errors import InvalidInput
from stream_workers.models.deep.scorer import F32, Query, Scorer
from tests.published_versions import ITEMS, MODEL, NOON, USERS, facts, published, scorer


class AnyScorer(Scorer):
    """Scores that are given, arrays that are given."""

    kind = "any"

    def __init__(self, scores: Sequence[float], arrays: Mapping[str, Any], settings: Mapping[str, Any] | None = None) -> None:
        self._scores = np.array(scores, np.float32)
        self._arrays = arrays
        self._settings = settings or {}

    def score(self, queries: Sequence[Query]) -> F32:
        return np.tile(self._scores, (len(queries), 1))

    def arrays(self) -> Mapping[str, Any]:
        return self._arrays

    def settings(self) -> Mapping[str, Any]:
        return self._settings

    @classmethod
    def load(cls, arrays: Mapping[str, Any], settings: Mapping[str, Any]) -> Self:
        return cls(np.ravel(arrays["scores"]).tolist(), arrays, settings)


def put(root: Path, made: Scorer, items: Sequence[str] = ITEMS, **others: Any) -> str:
    told = facts(trained_on=TrainedOn(first_ms=1, last_ms=2, events=3, users=len(USERS), items=len(items)), **others)
    return publish(root, MODEL, made, items, USERS, told)


def hidden(root: Path) -> list[str]:
    """What lies beside the versions, without the lock."""
    return sorted(one.name for one in (root / MODEL).iterdir() if one.name.startswith(".") and one.name != folders.LOCK)


def test_names_say_when_and_sort_by_age(tmp_path: Path) -> None:
    names = [published(tmp_path / "models", seed) for seed in (3, 1, 2)]
    assert names[1].startswith("20261123T120001Z-")
    assert version_names(tmp_path / "models", MODEL) == tuple(sorted(names)) == (names[1], names[2], names[0])
    assert hidden(tmp_path / "models") == []


def test_two_versions_of_one_second_differ_in_name(tmp_path: Path) -> None:
    names = {published(tmp_path, seed, created_ms=NOON) for seed in range(4)}
    assert len(names) == 4
    assert {name[:17] for name in names} == {"20261123T120000Z-"}


def test_publishing_the_same_again_changes_nothing(tmp_path: Path) -> None:
    first = published(tmp_path)
    inode = (tmp_path / MODEL / first).stat().st_ino
    assert published(tmp_path) == first
    assert (version_names(tmp_path, MODEL), (tmp_path / MODEL / first).stat().st_ino, hidden(tmp_path)) == ((first,), inode, [])


def test_publishing_the_same_again_does_not_trust_a_damaged_version(tmp_path: Path) -> None:
    first = published(tmp_path)
    arrays = tmp_path / MODEL / first / ARRAYS
    arrays.chmod(0o644)
    arrays.write_bytes(bytes(arrays.stat().st_size))
    with pytest.raises(CorruptVersion, match="SHA-256"):
        published(tmp_path)


def test_files_of_a_version_are_not_for_writing(tmp_path: Path) -> None:
    version = published(tmp_path)
    assert {file.stat().st_mode & 0o222 for file in (tmp_path / MODEL / version).iterdir()} == {0}


def test_arrays_that_are_not_contiguous_come_back_right(tmp_path: Path) -> None:
    table = np.arange(24, dtype=np.float32).reshape(4, 6)
    scores = np.asfortranarray(table)[1:2, ::1]
    version = put(tmp_path, AnyScorer(scores[0].tolist(), {"scores": scores, "other": table.T[::2], "big": table.astype(">f4")}))
    stored = read_version(tmp_path, MODEL, version).arrays
    assert np.array_equal(stored["scores"], scores)
    assert np.array_equal(stored["other"], table.T[::2])
    assert np.array_equal(stored["big"], table)


ZEROS = np.zeros(6, np.float32)


@pytest.mark.parametrize(
    ("made", "items", "error", "said"),
    [
        (AnyScorer([0] * 6, {"scores": ZEROS}), ITEMS[:5], InvalidInput, "scores 6 items; 5 ids"),
        (AnyScorer([], {"scores": ZEROS[:0]}), (), InvalidInput, "without items"),
        (AnyScorer([0] * 6, {"scores": ZEROS}), (*ITEMS[:5], ITEMS[0]), InvalidInput, "two rows"),
        (AnyScorer([0, np.nan, 0, 0, 0, 0], {"scores": ZEROS}), ITEMS, TrainingFailed, "not finite"),
        (AnyScorer([0, np.inf, 0, 0, 0, 0], {"scores": ZEROS}), ITEMS, TrainingFailed, "not finite"),
        (AnyScorer([1] * 6, {"scores": ZEROS}), ITEMS, InvalidInput, "other scores after it was stored"),
        (AnyScorer([0] * 6, {"scores": ZEROS, "x": np.array([None])}), ITEMS, InvalidInput, "'x' of 'any' is of object"),
        (AnyScorer([0] * 6, {"scores": ZEROS, "x": np.array(["a"])}), ITEMS, InvalidInput, "expected numbers"),
        (AnyScorer([0] * 6, {"scores": ZEROS}, {"x": object()}), ITEMS, InvalidInput, "JSON"),
        (AnyScorer([0] * 6, {"scores": ZEROS}, {"x": float("nan")}), ITEMS, InvalidInput, "JSON"),
    ],
)
def test_what_could_not_be_served_is_not_published(
    tmp_path: Path, made: Scorer, items: Sequence[str], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        put(tmp_path, made, items)
    assert version_names(tmp_path, MODEL) == ()
    assert not list(tmp_path.rglob(".draft-*"))


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"metrics": {"recall@10": float("nan")}}, r"metrics\.recall@10=nan.*finite"),
        ({"segments": {"new": {"recall@10": float("inf")}}}, r"segments\.new\.recall@10=inf.*finite"),
        ({"seed": "7"}, "seed='7'"),
        ({"created_ms": -1}, "created_ms=-1"),
        ({"created_ms": 10**15}, "created_ms="),
        ({"parent": "../x"}, r"parent='\.\./x'"),
        ({"offsets": {"views:0": -2}}, "views:0=-2"),
        ({"weather": "rain"}, "weather='rain'"),
    ],
)
def test_facts_that_cannot_be_are_named(told: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        facts(**told)


def test_facts_about_another_model_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="ids of 5 items and 3 users; the facts say 6 and 3"):
        publish(tmp_path, MODEL, scorer(items=5), ITEMS[:5], USERS, facts())
    with pytest.raises(InvalidInput, match="first_ms=2 is after last_ms=1"):
        published(tmp_path, trained_on=TrainedOn(first_ms=2, last_ms=1, events=0, users=3, items=6))


@pytest.mark.parametrize("name", ["..", "a/b", "/tmp/x", "", "A", ".draft-x"])
def test_a_name_cannot_leave_the_root(tmp_path: Path, name: str) -> None:
    root = tmp_path / "models"
    with pytest.raises(InvalidInput, match="expected up to 64"):
        published(root, model=name)
    assert list(tmp_path.rglob("*")) == []


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "away").mkdir()
    (tmp_path / MODEL).symlink_to(tmp_path / "away")
    with pytest.raises(CorruptVersion, match="is a link"):
        published(tmp_path)
    assert list((tmp_path / "away").iterdir()) == []


# --- a disk that is full --------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", place], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("only root may mount a small file system")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_full_disk_leaves_nothing_behind_and_says_so(small_disk: Path) -> None:
    first = published(small_disk)
    promote(small_disk, MODEL, first, Note(NOON, "ann", "first"), force=True)
    before = sorted(small_disk.rglob("*")), (small_disk / MODEL / STATE).read_bytes()
    for pages in (0, 1, 2):  # full while the arrays, the ids, the manifest are written
        with filled(small_disk, pages), pytest.raises(NotStored, match=r"not stored: .*No space left.*free some space"):
            published(small_disk, 2)
        assert (sorted(small_disk.rglob("*")), (small_disk / MODEL / STATE).read_bytes()) == before
    with filled(small_disk, 3):
        second = published(small_disk, 2)
        with pytest.raises(NotStored, match="not stored: No space left"):
            promote(small_disk, MODEL, second, Note(NOON, "ann", "second"), force=True)
        assert (small_disk / MODEL / STATE).read_bytes() == before[1]
        assert hidden(small_disk) == []
    assert promote(small_disk, MODEL, second, Note(NOON, "ann", "second"), force=True).serving == second


@contextmanager
def filled(disk: Path, pages: int) -> Iterator[None]:
    """All of the disk is taken but so many pages."""
    room = os.statvfs(disk)
    (disk / "filler").write_bytes(bytes(room.f_bsize * (room.f_bavail - pages)))
    yield
    (disk / "filler").unlink()


@pytest.mark.parametrize("call", range(1, 6))  # arrays, ids, manifest, the draft, the folder it appears in
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_failing_fsync_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int, number: int) -> None:
    first = published(tmp_path)
    calls = iter(range(1, 100))

    def failing(descriptor: int) -> None:
        if next(calls) == call:
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(NotStored, match=os.strerror(number)):
        published(tmp_path, 2)
    assert (hidden(tmp_path), version_names(tmp_path, MODEL)) == ([], (first,))
    second = published(tmp_path, 2)
    assert version_names(tmp_path, MODEL) == (first, second)


# --- several at once ------------------------------------------------------------------------------------------------------


def test_publishers_at_the_same_time_do_not_disturb_each_other(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(lambda seed: published(tmp_path, seed % 4), range(16)))
    assert version_names(tmp_path, MODEL) == tuple(sorted(set(names)))
    assert len(set(names)) == 4
    for seed, name in enumerate(names[:4]):
        weights = read_version(tmp_path, MODEL, name).arrays["weights"]
        assert np.array_equal(weights, scorer(seed).arrays()["weights"])
    assert hidden(tmp_path) == []


def test_only_abandoned_drafts_are_removed(tmp_path: Path) -> None:
    folder = folders.made_folder(tmp_path, MODEL)
    (folder / ".draft-of-the-dead").mkdir()
    (folder / ".draft-of-the-dead" / ARRAYS).write_bytes(b"half")
    (folder / ".removed-half").mkdir()
    (folder / ".draft-state.json").write_text("{")
    with folders.draft_folder(folder) as alive:
        (alive / "work").write_text("in progress")
        published(tmp_path)
        assert hidden(tmp_path) == [alive.name]
        assert (alive / "work").read_text() == "in progress"
    assert hidden(tmp_path) == []


def test_a_leftover_that_is_a_link_is_removed_and_not_followed(tmp_path: Path) -> None:
    folder, outside = folders.made_folder(tmp_path, MODEL), tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("here")
    (folder / ".draft-link").symlink_to(outside)
    published(tmp_path)
    assert hidden(tmp_path) == []
    assert (outside / "precious").read_text() == "here"


def test_a_publisher_waits_for_the_lock_only_to_begin_and_to_appear(tmp_path: Path) -> None:
    folder = folders.made_folder(tmp_path, MODEL)
    with folders.locked(folder):
        waiting = threading.Thread(target=published, args=(tmp_path,))
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive()
        assert version_names(tmp_path, MODEL) == ()
    waiting.join(10)
    assert len(version_names(tmp_path, MODEL)) == 1


def test_the_manifest_on_disk_has_what_people_look_for(tmp_path: Path) -> None:
    version = published(tmp_path, parent="20261122T120000Z-abcdef")
    told = json.loads((tmp_path / MODEL / version / "manifest.json").read_text())
    assert (told["schema_version"], told["model"], told["kind"], told["seed"]) == (1, MODEL, "item_weights", 1)
    assert (told["offsets"], told["parent"]) == ({"views:0": 41, "views:1": 7}, "20261122T120000Z-abcdef")
    assert told["files"][ARRAYS]["bytes"] == (tmp_path / MODEL / version / ARRAYS).stat().st_size
