"""Old versions go; what a pointer names, what a rollback would need and what somebody reads stays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from batch.registry import retention
from batch.registry.pointers import rollback, set_shadow
from batch.registry.retention import prune
from feature_store.model_versions import read_version, version_names
from feature_store.version_pointers import Pointers, read_state
from schemas.errors import InvalidInput
from tests.published_versions import MODEL, NOTE, forced, passed, published


@pytest.fixture
def versions(tmp_path: Path) -> list[str]:
    """Four, oldest first."""
    return [published(tmp_path, seed) for seed in (1, 2, 3, 4)]


def test_prune_keeps_the_newest_and_everything_that_a_pointer_names(tmp_path: Path, versions: list[str]) -> None:
    names = [*versions, *(published(tmp_path, seed) for seed in range(5, 11))]
    forced(tmp_path, names[0], names[1], names[2])
    set_shadow(tmp_path, MODEL, names[3], NOTE)
    for name in (names[4], names[2]):
        passed(tmp_path, name, names[1])
    assert prune(tmp_path, MODEL, 2) == (names[0], *names[4:8])
    assert version_names(tmp_path, MODEL) == (*names[1:4], *names[8:])
    state = read_state(tmp_path, MODEL)
    assert (state.pointers, state.earlier, set(state.gates)) == (Pointers(names[2], names[3]), (names[1],), {names[2]})
    assert rollback(tmp_path, MODEL, NOTE).serving == names[1]
    assert prune(tmp_path, MODEL, 9) == ()


def test_prune_without_a_pointer_keeps_the_newest(tmp_path: Path, versions: list[str]) -> None:
    assert prune(tmp_path, MODEL, 1) == tuple(versions[:3])
    assert [one.name for one in (tmp_path / MODEL).iterdir() if one.is_dir()] == [versions[3]]
    with pytest.raises(InvalidInput, match="keep=0"):
        prune(tmp_path, MODEL, 0)
    assert version_names(tmp_path, MODEL) == (versions[3],)


def test_who_reads_a_version_goes_on_with_it_when_it_is_removed(tmp_path: Path, versions: list[str]) -> None:
    stored = read_version(tmp_path, MODEL, versions[0])
    before = {name: np.array(array) for name, array in stored.arrays.items()}
    prune(tmp_path, MODEL, 1)
    assert all(np.array_equal(stored.arrays[name], array) for name, array in before.items())


def test_a_pointer_that_moves_while_prune_runs_keeps_its_version(
    tmp_path: Path, versions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    forget = retention.changed

    def slow(*arguments: object) -> object:
        state = forget(*arguments)  # type: ignore[arg-type]
        set_shadow(tmp_path, MODEL, versions[0], NOTE)
        return state

    monkeypatch.setattr(retention, "changed", slow)
    assert prune(tmp_path, MODEL, 1) == (versions[1], versions[2])
    assert read_state(tmp_path, MODEL).shadow == versions[0]
    assert read_version(tmp_path, MODEL, versions[0]).version == versions[0]
