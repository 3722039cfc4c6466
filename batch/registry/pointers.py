"""Move the pointers of a model: promote, roll back, put into the shadow; and remember what the gate said. One writer at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from batch.registry.folders import locked, replace_file, writing
from feature_store.model_versions import model_folder, read_version, version_folder
from feature_store.version_manifest import as_json
from feature_store.version_pointers import STATE, Change, GateRecord, State, read_state
from schemas.errors import InvalidInput

KEPT_CHANGES: Final = 1000
KEPT_EARLIER: Final = 20


@dataclass(frozen=True)
class Note:
    """When (ms), by whom and why a pointer is moved."""

    at_ms: int
    by: str
    reason: str


def promote(root: Path, model: str, version: str, note: Note, *, force: bool = False) -> State:
    """Let a version serve.

    Args:
        force: although the gate did not pass it against what serves now.

    Raises:
        InvalidInput: unknown, serving already, or not passed by the gate.
        CorruptVersion: it is damaged; the pointers stay.
        NotStored: the disk is full or the like; the pointers stay.
    """
    version_folder(root, model, version)

    def change(state: State) -> dict[str, Any]:
        if state.serving == version:
            raise InvalidInput(f"{model} {version} serves already")
        if not force:
            _check_gate(state, model, version)
        earlier = (*state.earlier, *filter(None, (state.serving,)))
        shadow = None if state.shadow == version else state.shadow
        return {"serving": version, "shadow": shadow, "earlier": earlier[-KEPT_EARLIER:]}

    return _move(root, model, "promote", note, change, forced=force)


def rollback(root: Path, model: str, note: Note) -> State:
    """Let the version serve that served before; done twice, the one before that.

    What the gate said of the version that is given up no longer counts, so that nothing promotes it again by itself.

    Raises:
        InvalidInput: nothing served before. CorruptVersion, NotStored: as `promote`.
    """

    def change(state: State) -> dict[str, Any]:
        if state.previous is None:
            served = f"no version served before {state.serving or 'any other'}"
            raise InvalidInput(f"{model}: {served}; nothing to go back to (--off lets none serve)")
        gates = {name: record for name, record in state.gates.items() if name != state.serving}
        shadow = None if state.shadow == state.previous else state.shadow
        return {"serving": state.previous, "shadow": shadow, "earlier": state.earlier[:-1], "gates": gates}

    return _move(root, model, "rollback", note, change)


def withdraw(root: Path, model: str, note: Note) -> State:
    """Let no version serve; a rollback brings back what served.

    What the gate said of it no longer counts, as after a rollback.

    Raises:
        InvalidInput: none serves. NotStored: as `promote`.
    """

    def change(state: State) -> dict[str, Any]:
        if state.serving is None:
            raise InvalidInput(f"{model}: no version serves; there is nothing to take away")
        gates = {name: record for name, record in state.gates.items() if name != state.serving}
        return {"serving": None, "earlier": (*state.earlier, state.serving)[-KEPT_EARLIER:], "gates": gates}

    return _move(root, model, "rollback", note, change)


def set_shadow(root: Path, model: str, version: str | None, note: Note) -> State:
    """Let a version be scored beside the serving one, without anybody seeing it; None: none.

    Raises:
        InvalidInput: unknown, or it serves. CorruptVersion, NotStored: as `promote`.
    """

    def change(state: State) -> dict[str, Any]:
        if version is not None and version == state.serving:
            raise InvalidInput(f"{model} {version} serves; only another version can be in its shadow")
        return {"shadow": version}

    return _move(root, model, "shadow", note, change)


def record_gate(root: Path, model: str, version: str, record: GateRecord) -> State:
    """Remember what the gate said of a version.

    Raises:
        InvalidInput: unknown. CorruptVersion: it is damaged. NotStored: it could not be written.
    """

    def change(state: State) -> dict[str, Any]:
        read_version(root, model, version)
        return {"gates": {**state.gates, version: record}}

    return changed(root, model, change)


def changed(root: Path, model: str, change: Callable[[State], dict[str, Any]]) -> State:
    """The state after a change of some of its fields, written under the lock of the model."""
    folder = model_folder(root, model)
    with writing(f"{folder / STATE}"), locked(folder):
        before = read_state(root, model)
        fields = {name: getattr(before, name) for name in State.model_fields}
        after = State(**{**fields, **change(before), "generation": before.generation + 1})
        replace_file(folder / STATE, as_json(after.model_dump(mode="json")))
    return after


def _check_gate(state: State, model: str, version: str) -> None:
    """The gate must have passed this version, in comparison with what serves now."""
    said = state.gates.get(version)
    if said is None:
        problem = "the gate has not judged it"
    elif not said.promote:
        problem = f"the gate refused it: {' '.join(said.reasons).removesuffix('.')}"
    elif said.against != state.serving:
        problem = f"the gate compared it with {said.against or 'no version'}, and now {state.serving or 'none'} serves"
    else:
        return
    raise InvalidInput(f"{model} {version}: {problem}; judge it (again), or promote it with --force and a --reason")


def _move(
    root: Path,
    model: str,
    action: Literal["promote", "rollback", "shadow"],
    note: Note,
    change: Callable[[State], dict[str, Any]],
    forced: bool = False,
) -> State:
    """Move a pointer to a version that verifies, and write down who did it."""

    def noted(state: State) -> dict[str, Any]:
        fields = change(state)
        pointer = "shadow" if action == "shadow" else "serving"
        before, after = getattr(state, pointer), fields[pointer]
        metrics = {} if after is None else read_version(root, model, after).manifest.metrics
        done = Change(
            at_ms=note.at_ms,
            action=action,
            before=before,
            after=after,
            by=note.by,
            reason=note.reason,
            forced=forced,
            metrics=metrics,
        )
        return {**fields, "history": (*state.history, done)[-KEPT_CHANGES:]}

    return changed(root, model, noted)
