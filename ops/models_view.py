"""What `freshet models` shows: versions as rows, one version as facts, the result of reading everything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from feature_store.model_versions import model_folder, model_names, read_manifest, read_version, version_folder, version_names
from feature_store.version_pointers import Change, State, read_state
from schemas.errors import FreshetError, InvalidInput

WHOLE: Final = "whole"
_AGES: Final = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1000, "s"))


def listing_rows(found: list[dict[str, Any]], now_ms: int) -> list[tuple[object, ...]]:
    """The rows of the table."""
    return [_row(one, now_ms) for one in found]


def _row(one: Mapping[str, Any], now_ms: int) -> tuple[object, ...]:
    named = (one["model"], one["version"], one["status"])
    if "problem" in one:
        return (*named, one["problem"], None, None, None)
    recall = one["metrics"].get("recall@10")
    quality = None if recall is None else f"{recall:.4f}"
    return (*named, moment(one["trained_until_ms"]), quality, f"{one['bytes'] / 2**20:.1f}", age(now_ms - one["created_ms"]))


def moment(ms: int) -> str:
    """A time as people write it.

    >>> moment(1_700_000_000_000)
    '2023-11-14 22:13 UTC'
    """
    return f"{datetime.fromtimestamp(ms // 1000, UTC):%Y-%m-%d %H:%M} UTC"


def age(ms: int) -> str:
    """A span in its largest unit.

    >>> age(5_400_000), age(-5)
    ('1 h', '0 s')
    """
    size, unit = next((one for one in _AGES if ms >= one[0]), _AGES[-1])
    return f"{max(ms, 0) // size} {unit}"


def chosen_version(root: Path, model: str, name: str) -> str:
    """The version of that name, or the one that a pointer of that name names.

    Raises:
        InvalidInput: unknown model, or the pointer names none.
    """
    if name not in {"serving", "shadow", "previous"}:
        return name
    model_folder(root, model)
    version: str | None = getattr(read_state(root, model), name)
    if version is None:
        there = ", ".join(version_names(root, model))
        raise InvalidInput(f"model {model!r} has no {name} version; {f'there are: {there}' if there else 'it has none at all'}")
    return version


def document(root: Path, model: str, version: str) -> dict[str, Any]:
    """All that is known of a version.

    Raises:
        InvalidInput: unknown model or version. CorruptVersion, LayoutMismatch: it cannot be read.
    """
    folder, manifest, state = version_folder(root, model, version), read_manifest(root, model, version), read_state(root, model)
    gate = state.gates.get(version)
    return {
        "version": version,
        "status": state.status_of(version),
        "folder": str(folder),
        "manifest": manifest.model_dump(mode="json"),
        "gate": None if gate is None else gate.model_dump(mode="json"),
        "history": [change.model_dump(mode="json") for change in _about(state, version)],
    }


def _about(state: State, version: str) -> list[Change]:
    return [change for change in state.history if version in {change.before, change.after}]


def facts(found: Mapping[str, Any]) -> dict[str, object]:
    """A document as names and values, one a line."""
    told, trained = found["manifest"], found["manifest"]["trained_on"]
    shown = {"model": told["model"], "version": found["version"], "status": found["status"], "kind": told["kind"]}
    shown["created"] = moment(told["created_ms"])
    shown["trained on"] = f"{trained['events']:,} events, {trained['users']:,} users, {trained['items']:,} items"
    shown["from, until"] = f"{moment(trained['first_ms'])}, {moment(trained['last_ms'])}"
    shown["training"] = f"{told['training_seconds']:.1f} s, seed {told['seed']}, code {told['code_version']}"
    shown["begun with"] = told["parent"]
    shown["offsets"] = _pairs(told["offsets"], "")
    shown["settings"] = _pairs(told["settings"], "")
    shown["metrics"] = _pairs(told["metrics"], ".4f")
    shown |= {f"  {name}": _pairs(figures, ".4f") for name, figures in told["segments"].items()}
    shown["files"] = ", ".join(f"{name} ({file['bytes']:,} bytes)" for name, file in told["files"].items())
    return {**shown, **dict(_gate(found["gate"])), **dict(_moves(found)), "folder": found["folder"]}


def _pairs(values: Mapping[str, Any], form: str) -> str:
    return ", ".join(f"{name} {value:{form}}" if form else f"{name}={value}" for name, value in values.items())


def _gate(said: Mapping[str, Any] | None) -> Iterator[tuple[str, str]]:
    if said is None:
        yield "gate", "not judged"
        return
    verdict = "passed" if said["promote"] else "refused"
    yield "gate", f"{verdict} on {moment(said['at_ms'])} against {said['against'] or 'no serving version'}"
    for number, reason in enumerate(said["reasons"], 1):
        yield f"  reason {number}", reason


def _moves(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for number, change in enumerate(found["history"], 1):
        way = f"{change['before'] or 'none'} -> {change['after'] or 'none'}"
        forced = ", forced" if change["forced"] else ""
        yield f"move {number}", f"{change['action']}{forced} {way}, {moment(change['at_ms'])}, {change['by']}: {change['reason']}"


def verification(root: Path) -> list[dict[str, str]]:
    """Every version with `whole`, or what is wrong with it; and every pointer that cannot be followed."""
    return [one for model in model_names(root) for one in (*_versions_found(root, model), *_pointers_found(root, model))]


def _versions_found(root: Path, model: str) -> Iterator[dict[str, str]]:
    for version in version_names(root, model):
        try:
            read_version(root, model, version)
        except FreshetError as error:
            yield {"model": model, "version": version, "found": str(error)}
        else:
            yield {"model": model, "version": version, "found": WHOLE}


def _pointers_found(root: Path, model: str) -> Iterator[dict[str, str]]:
    try:
        state = read_state(root, model)
    except FreshetError as error:
        yield {"model": model, "version": "-", "found": str(error)}
        return
    for pointer in ("serving", "shadow", "previous"):
        version = getattr(state, pointer)
        if version is not None and version not in version_names(root, model):
            yield {"model": model, "version": version, "found": f"{pointer}, but not there"}
