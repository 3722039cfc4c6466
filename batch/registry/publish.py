"""Write a trained model as a version: whole, durable and checked, or not at all."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final, Protocol, Self, TypeVar

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
from stream_workers.models.deep.blend_ranker import BlendRanker, probe
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
    told = facts.trained_on
    if (told.items, told.users) != (len(item_ids), len(user_ids)):
        raise InvalidInput(f"ids of {len(item_ids)} items and {len(user_ids)} users; the facts say {told.items} and {told.users}")
    if not item_ids:
        raise InvalidInput("a model without items; nothing could be recommended")
    return store_version(root, model, scorer, lambda one: _probe(one, len(item_ids)), id_arrays(item_ids, user_ids), facts)


def publish_ranker(root: Path, model: str, ranker: BlendRanker, facts: Facts) -> str:
    """As `publish`, for what orders candidates and knows no ids.

    Raises:
        InvalidInput, TrainingFailed, NotStored: as `publish`.
    """
    return store_version(root, model, ranker, probe, id_arrays((), ()), facts)


class Storable(Protocol):
    """Arrays and settings of which it can be made again (`load`)."""

    kind: ClassVar[str]

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """Everything that was learnt."""

    def settings(self) -> Mapping[str, Any]:
        """What stands beside it, as JSON."""

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]], settings: Mapping[str, Any]) -> Self:
        """The same again."""


Model = TypeVar("Model", bound=Storable)


def store_version(
    root: Path, model: str, made: Model, asked: Callable[[Model], F32], ids: Mapping[str, NDArray[Any]], facts: Facts
) -> str:
    """Write a version of anything that is arrays and settings; see `publish`.

    Args:
        asked: what it answers to a few questions: finite, and the same before and after it was stored. ids: of its rows.
    """
    checked_model_name(model)
    stored, settings = _storable(made), json.loads(as_json(dict(made.settings())))
    if facts.trained_on.first_ms > facts.trained_on.last_ms:
        raise InvalidInput(f"trained_on: first_ms={facts.trained_on.first_ms} is after last_ms={facts.trained_on.last_ms}")
    scores = asked(made)
    if not np.isfinite(scores).all():
        raise TrainingFailed(f"{made.kind!r} gives scores that are not finite; it is not published")
    with writing(f"{root / model}"):
        folder = made_folder(root, model)
        with draft_folder(folder) as draft:
            files = {ARRAYS: _write(draft / ARRAYS, stored), IDS: _write(draft / IDS, ids)}
            again = type(made).load(view_arrays(map_file(draft / ARRAYS), draft / ARRAYS), settings)
            if not np.array_equal(asked(again), scores):
                raise InvalidInput(f"{made.kind!r} gives other scores after it was stored and loaded: arrays() or load() is wrong")
            manifest = Manifest(**dict(facts), model=model, kind=made.kind, settings=settings, files=files)
            _write_manifest(draft, manifest)
            return _appear(draft, folder, version_name(manifest))


def load(root: Path, model: str, version: str, load_scorer: LoadScorer, *, checksums: bool = True) -> PublishedModel:
    """A version, ready to answer.

    Raises:
        InvalidInput: unknown model, version or kind.
        CorruptVersion: it is damaged. LayoutMismatch: a newer Freshet wrote it.
    """
    return published_model(read_version(root, model, version, checksums=checksums), load_scorer)


def _storable(scorer: Storable) -> dict[str, NDArray[Any]]:
    """The arrays as the format wants them: contiguous (it writes others wrongly, without a word), little endian, numbers only."""
    learnt = scorer.arrays().items()
    stored = {name: np.require(array, array.dtype.newbyteorder("<"), requirements="C") for name, array in learnt}
    for name, array in stored.items():
        if array.dtype not in STORABLE:
            raise InvalidInput(f"array {name!r} of {scorer.kind!r} is of {array.dtype}; expected numbers or truth values")
    return stored


def _probe(scorer: Scorer, items: int) -> F32:
    """What the scorer says to somebody unknown and to somebody who took the first and the last item."""
    scored = scorer.score([Query.of([])]).shape
    if scored != (1, items):
        raise InvalidInput(f"{scorer.kind!r} scores {scored[-1]} items; {items} ids were given")
    return scorer.score([Query.of([]), Query.of([0, items - 1])])


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
