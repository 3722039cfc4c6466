"""What a model version says of itself. Pure: names, fields and the seal; the files are read by `feature_store.model_versions`.

A version is a folder `<root>/<model>/<version>` of three files that never change again:

    manifest.json        the fields of `Manifest`, and `sha256`, the seal over all of them
    arrays.safetensors   what was learnt
    ids.safetensors      which item and which user each row is

Its name is the moment it was made and the beginning of the seal, `20261123T004512Z-3f9a1c`: names sort by age, and a folder that
was renamed, or whose manifest was changed, no longer fits its name.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ModelWrapValidatorHandler, ValidationError, model_validator

from schemas.errors import FreshetError, InvalidInput, LayoutMismatch

SCHEMA_VERSION: Final = 1
MANIFEST: Final = "manifest.json"
ARRAYS: Final = "arrays.safetensors"
IDS: Final = "ids.safetensors"
_MODEL: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_VERSION: Final = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{6}")
_LATEST_MS: Final = 253_402_300_799_999  # the end of the year 9999

Count = Annotated[int, Field(ge=0)]
Milliseconds = Annotated[int, Field(ge=0, le=_LATEST_MS)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class CorruptVersion(FreshetError):
    """A version or a state file is incomplete or damaged; nothing of it is used."""


class Frozen(BaseModel):
    """JSON with exactly these fields, each of exactly its type (a list may become a tuple).

    Raises:
        InvalidInput: a field is missing, unknown, of another type or not finite; names it and its value.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    @model_validator(mode="wrap")
    @classmethod
    def _named(cls, value: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return validate(value)
        except ValidationError as error:
            lines = [f"{'.'.join(map(str, one['loc']))}={one['input']!r:.100}: {one['msg']}" for one in error.errors()]
            raise InvalidInput(f"{cls.__name__}: {'; '.join(lines)}") from error


FrozenT = TypeVar("FrozenT", bound=Frozen)


class TrainedOn(Frozen):
    """The log that a version has learnt from: event times of its first and last event, ms, and how many of what were in it."""

    first_ms: Milliseconds
    last_ms: Milliseconds
    events: Count
    users: Count
    items: Count


class StoredFile(Frozen):
    """Size and SHA-256 (64 hexadecimal digits) of a file."""

    bytes: Annotated[int, Field(ge=8)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Facts(Frozen):
    """What only the one who trained a version can tell.

    Attributes:
        trained_on: the range of the log.
        offsets: `topic:partition` to the last offset learnt from; what comes after is new to the model.
        metrics: name to value on later time, e.g. `recall@10`. segments: the same for each segment of the questions.
        code_version: git commit or package version of the code that trained.
        seed: of everything random. training_seconds: how long it took.
        created_ms: when it was made. parent: the version whose weights the training began with, if any.
    """

    trained_on: TrainedOn
    offsets: Mapping[str, Count] = {}
    metrics: Mapping[str, Finite] = {}
    segments: Mapping[str, Mapping[str, Finite]] = {}
    code_version: str
    seed: int
    training_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    created_ms: Milliseconds
    parent: Annotated[str, Field(pattern=f"^{_VERSION.pattern}$")] | None = None


class Manifest(Facts):
    """The facts, and what was stored.

    Attributes:
        model: name that people gave it. kind: `Scorer.kind`, by which the class is found. settings: `Scorer.settings()`.
        files: the other files of the folder.
    """

    schema_version: int = SCHEMA_VERSION
    model: Annotated[str, Field(pattern=f"^{_MODEL.pattern}$")]
    kind: str
    settings: Mapping[str, Any] = {}
    files: Mapping[str, StoredFile]

    @property
    def total_bytes(self) -> int:
        """Bytes of its files, the manifest aside."""
        return sum(file.bytes for file in self.files.values())


def checked_model_name(name: str) -> str:
    """The name, if it is one that a folder may have.

    >>> checked_model_name("two_tower")
    'two_tower'
    """
    if not _MODEL.fullmatch(name):
        raise InvalidInput(f"model {name!r}: expected up to 64 of a-z, 0-9, _ and -, beginning with a letter or digit")
    return name


def is_model_name(name: str) -> bool:
    """Whether `checked_model_name` takes it."""
    return _MODEL.fullmatch(name) is not None


def is_version_name(name: str) -> bool:
    """Whether a folder of this name may be a version."""
    return _VERSION.fullmatch(name) is not None


def as_json(value: object) -> str:
    """One text for each value: sorted keys, no NaN.

    Raises:
        InvalidInput: something that JSON has no word for.
    """
    try:
        return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"cannot be written as JSON: {error}") from error


def seal(fields: Mapping[str, Any]) -> str:
    """SHA-256 over all fields."""
    return hashlib.sha256(as_json(fields).encode()).hexdigest()


def version_name(manifest: Manifest) -> str:
    """The only name that the folder of this manifest may have."""
    made = datetime.fromtimestamp(manifest.created_ms // 1000, UTC)
    return f"{made:%Y%m%dT%H%M%SZ}-{seal(manifest.model_dump(mode='json'))[:6]}"


def pack_manifest(manifest: Manifest) -> str:
    """The text of `manifest.json`."""
    fields = manifest.model_dump(mode="json")
    return as_json(fields | {"sha256": seal(fields)})


def unpack_manifest(text: str | bytes, place: object) -> Manifest:
    """Inverse of `pack_manifest`; `place` is named in errors.

    Raises:
        LayoutMismatch: written by a newer Freshet.
        CorruptVersion: damaged.
    """
    fields = read_fields(text, place, SCHEMA_VERSION)
    said = fields.pop("sha256", None)
    if said != seal(fields):
        raise CorruptVersion(f"{place}: the seal does not fit; the file was changed or damaged")
    manifest = validated(Manifest, fields, place)
    if manifest.files.keys() != {ARRAYS, IDS}:
        raise CorruptVersion(f"{place}: lists {', '.join(sorted(manifest.files)) or 'no files'}; expected {ARRAYS} and {IDS}")
    return manifest


def read_fields(text: str | bytes, place: object, newest: int) -> dict[str, Any]:
    """The object in a JSON file of ours, if this code knows its format.

    Raises:
        LayoutMismatch: `schema_version` is above `newest`.
        CorruptVersion: no JSON object, or no version in it.
    """
    try:
        fields = json.loads(text)
    except ValueError as error:
        raise CorruptVersion(f"{place}: {error}") from error
    version = fields.get("schema_version") if isinstance(fields, dict) else None
    if type(version) is not int or version < 1:
        raise CorruptVersion(f"{place}: expected a JSON object with schema_version, a number from 1 on")
    if version > newest:
        raise LayoutMismatch(f"{place}: schema_version {version}, this Freshet reads up to {newest}; upgrade it, or publish again")
    return dict(fields)


def validated(kind: type[FrozenT], fields: Mapping[str, Any], place: object) -> FrozenT:
    """The fields as their type.

    Raises:
        CorruptVersion: a field is missing, unknown or of another type.
    """
    try:
        return kind.model_validate(fields)
    except InvalidInput as error:
        raise CorruptVersion(f"{place}: {error}") from error
