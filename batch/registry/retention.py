"""Remove old versions, never one that a pointer names or the next rollback would need."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from batch.registry.folders import locked, remove_folder, remove_leftovers, writing
from batch.registry.pointers import changed
from feature_store.model_versions import model_folder, version_names
from feature_store.version_pointers import State, read_state
from schemas.errors import InvalidInput


def prune(root: Path, model: str, keep: int) -> tuple[str, ...]:
    """Keep the newest `keep` versions, and beside them what serves, is in the shadow or served before; returns the removed names.

    Who has read a removed version goes on with it: its memory map stays valid.

    Raises:
        InvalidInput: unknown model, or `keep` below 1.
        CorruptVersion: the state cannot be read, so that nobody knows what is needed; nothing is removed.
        NotStored: the file system refused; what was not removed is whole.
    """
    if keep < 1:
        raise InvalidInput(f"keep={keep}: expected at least 1 version")
    folder = model_folder(root, model)
    if old_versions(root, model, keep):
        changed(root, model, lambda state: _forgotten(state, set(old_versions(root, model, keep))))
    with writing(f"{folder}"), locked(folder):
        remove_leftovers(folder)
        old = old_versions(root, model, keep)  # once more: a pointer may have moved since
        for version in old:
            remove_folder(folder / version)
    return old


def old_versions(root: Path, model: str, keep: int) -> tuple[str, ...]:
    """What `prune` would remove now."""
    state = read_state(root, model)
    return tuple(version for version in version_names(root, model)[:-keep] if not state.status_of(version))


def _forgotten(state: State, old: set[str]) -> dict[str, Any]:
    """What will be gone is nothing to go back to, and what the gate said of it says nothing."""
    gates = {name: record for name, record in state.gates.items() if name not in old}
    return {"gates": gates, "earlier": tuple(name for name in state.earlier if name not in old)}
