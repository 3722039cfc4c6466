"""Write a trained model as a version: whole, durable and checked, or not at all."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import save_file

from batch.durable import sync_to_disk
from batch.models.interface import TrainingFailed
from batch.registry.folders import draft_folder, locked, made_folder, writing
from feature_store.model_versions import map_file, read_version
from feature_store.version_arrays import STORABLE, id_arrays, view_arrays
from feature_store.version_manifest import (
    ARRAYS,
    IDS,
    MANIFEST,
    Facts,
    Manifest,
    StoredFile,
    as_json,
    checked_model_name,
    pack_manifest,
    version_name,
)
from schemas.errors import InvalidInput
from stream_workers.models.deep.published import LoadScorer, PublishedModel, published_model
from stream_workers.models.deep.scorer import F32, Query, Scorer

_READ_ONLY: Final = 0o444


def publish(root: Path, model: str, scorer: Scorer, item_ids: Sequence[str], user_ids: Sequence[str], facts: Facts) -> str:
    """Write a version and return its name. No pointer moves: nobody is served by it until it is promoted.

    Publishing the same once more (same arrays, ids and facts) changes nothing and returns the same name.

    Args:
        root: folder of all models; made if it is not there.
        item_ids, user_ids: which item, which user each of the scorer's rows is.

    Raises:
        InvalidInput: ids that do not fit the scorer, arrays that cannot be stored, facts that say something else.
        TrainingFailed: the scores are not finite.
        NotStored: a full disk or the like; nothing is left behind.
    """
    checked_model_name(model)
    stored, settings = _storable(scorer), json.loads(as_json(dict(scorer.settings())))
    _check_facts(facts, item_ids, user_ids)
    asked, scores = _probe(scorer, len(item_ids))
    with writing(f"{root / model}"):
        folder = made_folder(root, model)
        with draft_folder(folder) as draft:
            files = {ARRAYS: _write(draft / ARRAYS, stored), IDS: _write(draft / IDS, id_arrays(item_ids, user_ids))}
            _check_return(draft / ARRAYS, scorer, settings, asked, scores)
            manifest = Manifest(**dict(facts), model=model, kind=scorer.kind, settings=settings, files=files)
            _write_manifest(draft, manifest)
            return _appear(draft, folder, version_name(manifest))


def load(root: Path, model: str, version: str, load_scorer: LoadScorer, *, checksums: bool = True) -> PublishedModel:
    """A version, ready to answer.

    Raises:
        InvalidInput: unknown model, version or kind.
        CorruptVersion: it is damaged. LayoutMismatch: a newer Freshet wrote it.
    """
    return published_model(read_version(root, model, version, checksums=checksums), load_scorer)


def _storable(scorer: Scorer) -> dict[str, NDArray[Any]]:
    """The arrays as the format wants them: contiguous (it writes others wrongly, without a word), little endian, numbers only."""
    learnt = scorer.arrays().items()
    stored = {name: np.require(array, array.dtype.newbyteorder("<"), requirements="C") for name, array in learnt}
    for name, array in stored.items():
        if array.dtype not in STORABLE:
            raise InvalidInput(f"array {name!r} of {scorer.kind!r} is of {array.dtype}; expected numbers or truth values")
    return stored


def _check_facts(facts: Facts, item_ids: Sequence[str], user_ids: Sequence[str]) -> None:
    told = facts.trained_on
    if (told.items, told.users) != (len(item_ids), len(user_ids)):
        raise InvalidInput(f"ids of {len(item_ids)} items and {len(user_ids)} users; the facts say {told.items} and {told.users}")
    if told.first_ms > told.last_ms:
        raise InvalidInput(f"trained_on: first_ms={told.first_ms} is after last_ms={told.last_ms}")


def _probe(scorer: Scorer, items: int) -> tuple[list[Query], F32]:
    """What the scorer says to somebody unknown and to somebody who took the first and the last item."""
    if not items:
        raise InvalidInput("a model without items; nothing could be recommended")
    scored = scorer.score([Query.of([])]).shape
    if scored != (1, items):
        raise InvalidInput(f"{scorer.kind!r} scores {scored[-1]} items; {items} ids were given")
    asked = [Query.of([]), Query.of([0, items - 1])]
    scores = scorer.score(asked)
    if not np.isfinite(scores).all():
        raise TrainingFailed(f"{scorer.kind!r} gives scores that are not finite; it is not published")
    return asked, scores


def _check_return(path: Path, scorer: Scorer, settings: Mapping[str, Any], asked: Sequence[Query], scores: F32) -> None:
    """What was written must become the same model again."""
    again = type(scorer).load(view_arrays(map_file(path), path), settings)
    if not np.array_equal(again.score(asked), scores):
        raise InvalidInput(f"{scorer.kind!r} gives other scores after it was stored and loaded; its arrays() or load() is wrong")


def _write(path: Path, arrays: Mapping[str, NDArray[Any]]) -> StoredFile:
    try:
        save_file(dict(arrays), path)
    except SafetensorError as error:  # the library hides the system's number in its text
        number = errno.ENOSPC if f"os error {errno.ENOSPC}" in str(error) else errno.EIO
        raise OSError(number, str(error)) from error
    path.chmod(_READ_ONLY)
    sync_to_disk(path)
    content = map_file(path)
    return StoredFile(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


def _write_manifest(draft: Path, manifest: Manifest) -> None:
    path = draft / MANIFEST
    path.write_text(pack_manifest(manifest), encoding="utf-8")
    path.chmod(_READ_ONLY)
    sync_to_disk(path)
    sync_to_disk(draft)


def _appear(draft: Path, folder: Path, name: str) -> str:
    """The draft gets its name in one step; a version of this name that is there already is the same one, if it is whole."""
    with locked(folder):
        if (folder / name).exists():
            read_version(folder.parent, folder.name, name)
        else:
            draft.rename(folder / name)
            _keep_durably(folder, folder / name)
    return name


def _keep_durably(folder: Path, version: Path) -> None:
    """A name that is not sure to survive a crash is taken back."""
    try:
        sync_to_disk(folder)
    except OSError:
        shutil.rmtree(version, ignore_errors=True)
        raise
