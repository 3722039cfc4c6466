"""Where the weights of trainings are kept, for later ones to begin with: `<models>/.weights/<model>/<version>.npz`.

They stand beside the versions, not in them: workers and API have no use for them.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from batch.durable import sync_to_disk
from batch.models.interface import Entries, Weights
from batch.registry.folders import writing
from feature_store.model_versions import version_names
from feature_store.version_manifest import checked_model_name
from schemas.errors import InvalidInput

_FOLDER: Final = ".weights"
_ENDING: Final = ".npz"
_DRAFT: Final = ".new"


def weights_path(root: Path, model: str, version: str) -> Path:
    """Where the weights of a version are kept, if they are."""
    return root / _FOLDER / checked_model_name(model) / f"{version}{_ENDING}"


def keep_weights(root: Path, version: str, weights: Weights) -> None:
    """Keep the weights of a published version, and forget those of versions that are gone.

    Raises:
        NotStored: the file system refused; the version is as good as before, the next training begins anew.
    """
    path = weights_path(root, weights.model, version)
    with writing(f"{path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_weights(path, weights)
        there = version_names(root, weights.model)
        for old in path.parent.glob(f"*{_ENDING}"):
            if old.stem not in there:
                old.unlink(missing_ok=True)


def write_weights(path: Path, weights: Weights) -> None:
    """Write the file in one step: the old one, or the new one, is there whole."""
    beside = path.with_name(path.name + _DRAFT)
    with beside.open("wb") as file:
        arrays: dict[str, Any] = {f"array_{at}": array for at, array in enumerate(weights.arrays)}
        np.savez(file, about=_as_bytes(_about(weights)), **arrays)
    sync_to_disk(beside)
    beside.replace(path)


def read_weights(path: Path) -> Weights:
    """What `write_weights` wrote.

    Raises:
        InvalidInput: no such file, or a damaged one.
    """
    try:
        with np.load(path, allow_pickle=False) as saved:
            about = json.loads(saved["about"].tobytes())
            entries = tuple(_entries(about))
            arrays = tuple(saved[f"array_{at}"] for at in range(len(entries)))
        return Weights(str(about["model"]), int(about["last_ms"]), arrays, entries)
    except FileNotFoundError as error:
        raise InvalidInput(f"there are no weights in {path}") from error
    except (OSError, EOFError, ValueError, KeyError, TypeError, IndexError, zipfile.BadZipFile) as error:
        raise InvalidInput(f"weights {path} cannot be read: {error}; train without them") from error


def _about(weights: Weights) -> dict[str, Any]:
    """What is not a number; names that several arrays share are there once."""
    names = list(dict.fromkeys(one.names for one in weights.entries if one is not None))
    entries = [None if one is None else [one.axis, names.index(one.names)] for one in weights.entries]
    return {"model": weights.model, "last_ms": weights.last_ms, "names": names, "entries": entries}


def _entries(about: dict[str, Any]) -> Iterator[Entries | None]:
    names = [tuple(map(str, one)) for one in about["names"]]
    for found in about["entries"]:
        yield None if found is None else Entries(int(found[0]), names[found[1]])


def _as_bytes(value: object) -> NDArray[np.uint8]:
    return np.frombuffer(json.dumps(value).encode(), np.uint8)
