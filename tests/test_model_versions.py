"""Reading published versions: whole or not at all, and never from outside the root."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from batch.registry.publish import load
from feature_store.model_versions import model_names, read_manifest, read_version, version_names
from feature_store.version_arrays import JoinedIds, join_ids, split_ids, view_arrays
from feature_store.version_manifest import ARRAYS, IDS, MANIFEST, CorruptVersion, as_json, seal
from schemas.errors import InvalidInput, LayoutMismatch
from stream_workers.models.deep.loading import load_scorer
from stream_workers.models.deep.scorer import Query
from tests.published_versions import ITEMS, MODEL, NOON, USERS, facts, published, scorer

FILES = (MANIFEST, ARRAYS, IDS)


@pytest.fixture
def version(tmp_path: Path) -> str:
    return published(tmp_path)


def folder_of(root: Path, version: str) -> Path:
    return root / MODEL / version


def rewrite(path: Path, change: Callable[[bytes], bytes]) -> None:
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(change(content))


# --- what was published comes back ----------------------------------------------------------------------------------------


def test_a_version_comes_back_bit_for_bit(tmp_path: Path, version: str) -> None:
    model = load(tmp_path, MODEL, version, load_scorer)
    asked = [Query.of([]), Query.of([0, 3, 3])]
    assert np.array_equal(model.scorer.score(asked), scorer().score(asked))
    assert (model.item_ids, model.user_ids, model.version) == (ITEMS, USERS, version)
    told = facts(created_ms=NOON + 1000, seed=1)
    manifest = read_manifest(tmp_path, MODEL, version)
    assert {name: getattr(manifest, name) for name in dict(told)} == dict(told)
    assert (manifest.model, manifest.kind, dict(manifest.settings)) == (MODEL, "item_weights", {"items": 6})
    assert model.model == MODEL


def test_a_query_is_in_the_rows_of_the_model_without_what_it_does_not_know(tmp_path: Path, version: str) -> None:
    model = load(tmp_path, MODEL, version, load_scorer)
    query = model.query("bob", ["電影", "unknown", "7"], [10, 20, 30], 40, [5.0, 4.0, 3.0])
    assert (query.user, query.now) == (1, 40)
    assert [column.tolist() for column in (query.items, query.timestamps, query.weights)] == [[4, 0], [10, 30], [5.0, 3.0]]
    assert model.query("nobody", [], [], 40).user == -1


def test_arrays_are_read_only_views_of_the_file_and_outlive_it(tmp_path: Path, version: str) -> None:
    stored = read_version(tmp_path, MODEL, version)
    theirs = load_file(folder_of(tmp_path, version) / ARRAYS)
    shutil.rmtree(folder_of(tmp_path, version))
    assert stored.arrays.keys() == theirs.keys()
    for name, array in stored.arrays.items():
        assert not array.flags.writeable
        assert not array.flags.owndata
        assert np.array_equal(array, theirs[name])


@pytest.mark.parametrize("dtype", ["<f8", "<f4", "<f2", "<i8", "<i4", "<i2", "i1", "<u8", "<u4", "<u2", "u1", "?"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0, 4)])
def test_views_agree_with_the_library_that_defines_the_format(tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    written = {"a": np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype), "odd": np.ones(3, np.int8)}
    save_file(written, tmp_path / "x", metadata={"made by": "a test"})
    found = view_arrays((tmp_path / "x").read_bytes(), "x")
    for name, array in load_file(tmp_path / "x").items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        assert np.array_equal(found[name], array)


@pytest.mark.parametrize("ids", [(), ("",), ("a",), ("", "é", "", "電影", "😀", "a\nb\0c")[1:], tuple(map(str, range(1000)))])
def test_ids_come_back(ids: tuple[str, ...]) -> None:
    assert split_ids(join_ids(ids), "here") == ids


@pytest.mark.parametrize(("ids", "said"), [(("a", "b", "a"), "'a' stands in two rows"), (("a", "\ud800"), "UTF-8")])
def test_ids_that_cannot_be_told_apart_or_written_are_refused(ids: tuple[str, ...], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        join_ids(ids)


@pytest.mark.parametrize("bounds", [[], [0], [0, 5], [0, 2, 1, 3], [1, 3], [-1, 3], [0, 4]])
def test_bounds_that_do_not_fit_are_corrupt(bounds: list[int]) -> None:
    with pytest.raises(CorruptVersion, match="bounds"):
        split_ids(JoinedIds(np.frombuffer(b"abc", np.uint8), np.array(bounds, np.int64)), "here")


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"[1]",
        b"{",
        b'{"a":1}',
        b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}',
        b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}',
        b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[-8,0]}}',
        b'{"a":{"dtype":"F32","shape":[-2,-1],"data_offsets":[0,8]}}',
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}}',
        b'{"a":{"dtype":"OBJ","shape":[1],"data_offsets":[0,8]}}',
        b'{"a":{"dtype":"F32","shape":[2]}}',
    ],
)
def test_a_header_that_lies_is_corrupt(header: bytes) -> None:
    with pytest.raises(CorruptVersion, match="no safetensors file"):
        view_arrays(len(header).to_bytes(8, "little") + header + bytes(8), "x")


def test_a_header_longer_than_the_file_is_corrupt() -> None:
    with pytest.raises(CorruptVersion, match="no safetensors file"):
        view_arrays(b"\xff" * 8 + b"{}", "x")


# --- what is damaged is refused -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("at", [0.0, 0.5, 0.999])
def test_a_flipped_bit_anywhere_is_seen(tmp_path: Path, version: str, name: str, at: float) -> None:
    def flip(content: bytes) -> bytes:
        place = int(at * len(content))
        return content[:place] + bytes((content[place] ^ 1,)) + content[place + 1 :]

    rewrite(folder_of(tmp_path, version) / name, flip)
    with pytest.raises(CorruptVersion, match=name.replace(".", r"\.")):
        read_version(tmp_path, MODEL, version)


@pytest.mark.parametrize("checksums", [True, False])
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("change", [lambda c: c[:-1], lambda c: c[: len(c) // 2], lambda c: b"", lambda c: c + b"x"])
def test_a_file_of_another_length_is_seen_with_and_without_checksums(
    tmp_path: Path, version: str, name: str, change: Callable[[bytes], bytes], checksums: bool
) -> None:
    rewrite(folder_of(tmp_path, version) / name, change)
    with pytest.raises(CorruptVersion):
        read_version(tmp_path, MODEL, version, checksums=checksums)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_seen_already_by_the_manifest(tmp_path: Path, version: str, name: str) -> None:
    (folder_of(tmp_path, version) / name).unlink()
    with pytest.raises(CorruptVersion, match="No such file"):
        read_manifest(tmp_path, MODEL, version)


def test_without_checksums_the_arrays_are_not_read_but_the_ids_are_checked(tmp_path: Path, version: str) -> None:
    rewrite(folder_of(tmp_path, version) / ARRAYS, lambda content: content[:-1] + bytes((content[-1] ^ 1,)))
    assert read_version(tmp_path, MODEL, version, checksums=False).item_ids == ITEMS
    rewrite(folder_of(tmp_path, version) / IDS, lambda content: content[:-1] + bytes((content[-1] ^ 1,)))
    with pytest.raises(CorruptVersion, match="SHA-256"):
        read_version(tmp_path, MODEL, version, checksums=False)


@pytest.mark.parametrize("path", ["seed", "metrics", "code_version"])
def test_a_manifest_that_was_edited_no_longer_fits_its_seal(tmp_path: Path, version: str, path: str) -> None:
    changes = {"seed": 8, "metrics": {"recall@10": 0.99}, "code_version": "mine"}
    rewrite(folder_of(tmp_path, version) / MANIFEST, lambda text: as_json(json.loads(text) | {path: changes[path]}).encode())
    with pytest.raises(CorruptVersion, match="seal"):
        read_manifest(tmp_path, MODEL, version)


def resealed(**changes: object) -> Callable[[bytes], bytes]:
    """Somebody who knows how to seal changed the manifest."""

    def change(text: bytes) -> bytes:
        fields = {**json.loads(text), **changes}
        fields.pop("sha256")
        return as_json(fields | {"sha256": seal(fields)}).encode()

    return change


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seed": 8}, "moved or changed"),
        ({"surprise": 1}, "surprise"),
        ({"seed": "7"}, "seed"),
        ({"files": {"../../x": {"bytes": 10, "sha256": "0" * 64}}}, r"lists \.\./\.\./x"),
        ({"model": "../ease"}, "model"),
    ],
)
def test_a_manifest_that_was_sealed_anew_fits_neither_its_name_nor_the_format(
    tmp_path: Path, version: str, changes: dict[str, object], said: str
) -> None:
    rewrite(folder_of(tmp_path, version) / MANIFEST, resealed(**changes))
    with pytest.raises(CorruptVersion, match=said):
        read_manifest(tmp_path, MODEL, version)


def test_a_manifest_of_a_newer_freshet_says_so(tmp_path: Path, version: str) -> None:
    rewrite(folder_of(tmp_path, version) / MANIFEST, resealed(schema_version=2, news="unknown today"))
    with pytest.raises(LayoutMismatch, match=r"schema_version 2.*reads up to 1; upgrade"):
        read_version(tmp_path, MODEL, version)


@pytest.mark.parametrize("text", ["[]", "7", "{}", '{"schema_version": "1"}', '{"schema_version": true}', '{"schema_version": 0}'])
def test_json_that_is_no_manifest_is_corrupt(tmp_path: Path, version: str, text: str) -> None:
    rewrite(folder_of(tmp_path, version) / MANIFEST, lambda _: text.encode())
    with pytest.raises(CorruptVersion, match="schema_version"):
        read_manifest(tmp_path, MODEL, version)


def test_a_version_under_another_name_or_model_is_refused(tmp_path: Path, version: str) -> None:
    shutil.copytree(tmp_path / MODEL / version, tmp_path / MODEL / "20300101T000000Z-abcdef")
    shutil.copytree(tmp_path / MODEL, tmp_path / "other")
    for model, name in ((MODEL, "20300101T000000Z-abcdef"), ("other", version)):
        with pytest.raises(CorruptVersion, match="moved or changed"):
            read_version(tmp_path, model, name)


# --- names and links ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["..", ".", "", "../ease", "ease/..", "/etc", "Ease", "ease\n", ".hidden", "a" * 65, "ease\0"])
def test_a_model_name_cannot_leave_the_root(tmp_path: Path, version: str, name: str) -> None:
    with pytest.raises(InvalidInput, match="expected up to 64"):
        read_version(tmp_path, name, version)


@pytest.mark.parametrize("name", ["..", "", "../..", "20261123T120001Z-xyzxyz", "latest", "20261123T120001Z-abcdef/.."])
def test_a_version_name_cannot_leave_the_model(tmp_path: Path, version: str, name: str) -> None:
    with pytest.raises(InvalidInput, match=f"has no version .*; there are: {version}"):
        read_version(tmp_path, MODEL, name)


def test_who_asks_for_what_is_not_there_is_told_what_is(tmp_path: Path, version: str) -> None:
    published(tmp_path, model="two_tower")
    with pytest.raises(InvalidInput, match="there are: ease, two_tower"):
        read_version(tmp_path, "bert", version)
    with pytest.raises(InvalidInput, match=f"there are: {version}"):
        read_version(tmp_path, MODEL, "20300101T000000Z-abcdef")
    with pytest.raises(InvalidInput, match="holds no model yet"):
        read_version(tmp_path / "nowhere", MODEL, version)


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_a_link_is_refused(tmp_path: Path, version: str, name: str) -> None:
    file, outside = folder_of(tmp_path, version) / name, tmp_path / "outside"
    file.rename(outside)
    file.symlink_to(outside)
    with pytest.raises(CorruptVersion, match="is a link"):
        read_version(tmp_path, MODEL, version)


def test_a_version_or_model_that_is_a_link_is_not_there(tmp_path: Path, version: str) -> None:
    (tmp_path / MODEL).rename(tmp_path / "real")
    (tmp_path / MODEL).symlink_to(tmp_path / "real")
    assert (model_names(tmp_path), version_names(tmp_path, MODEL)) == (("real",), ())
    (tmp_path / "away").mkdir()
    (tmp_path / "real" / version).rename(tmp_path / "away" / version)
    (tmp_path / "real" / version).symlink_to(tmp_path / "away" / version)
    assert version_names(tmp_path, "real") == ()
    for model in (MODEL, "real"):
        with pytest.raises(InvalidInput, match="no "):
            read_version(tmp_path, model, version)


def test_files_between_models_and_versions_are_nobody(tmp_path: Path, version: str) -> None:
    (tmp_path / "notes").write_text("")
    (tmp_path / ".cache").mkdir()
    (tmp_path / MODEL / "20300101T000000Z-abcdef").write_text("")
    (tmp_path / MODEL / ".draft-x").mkdir()
    assert (model_names(tmp_path), version_names(tmp_path, MODEL)) == ((MODEL,), (version,))
    assert model_names(tmp_path / "notes") == ()
