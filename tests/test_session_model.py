"""The stored state of a session model, and which model it is of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from feature_store.packing import CorruptBlob
from feature_store.session_blob import SessionColumns, pack_sessions, session_of, unpack_session
from feature_store.version_follower import VersionFollower
from schemas.settings import Settings
from stream_workers.models.deep.session_model import session_model
from tests.pipeline_world import NOW
from tests.published_versions import forced, published
from tests.session_world import Sessions, publish_session, stream


def test_a_state_comes_back_bit_for_bit_and_damage_is_seen() -> None:
    states = np.random.default_rng(2).normal(size=(2, 128)).astype(np.float32)
    columns = SessionColumns(
        np.array([NOW, -5]), np.array([7, 0], np.uint8), np.array([2**64 - 1, 0], np.uint64), np.array([9, 0]), states
    )
    blobs = pack_sessions("session_rnn@20261123T004512Z-3f9a1c", columns, [b"one user", b"other"])
    for d, blob in enumerate(blobs):
        found = unpack_session(blob)
        np.testing.assert_array_equal(found.state, states[d])
        assert (found.newest, found.kind, found.order, found.steps) == tuple(int(column[d]) for column in columns[:-1])
    assert session_of(b"one user", blobs[0]) is not None
    assert session_of(b"other", blobs[0]) is None
    for at in range(len(blobs[0])):
        with pytest.raises(CorruptBlob):
            unpack_session(blobs[0][:at] + bytes((blobs[0][at] ^ 1,)) + blobs[0][at + 1 :])
        with pytest.raises(CorruptBlob):
            unpack_session(blobs[0][:at])


def test_a_model_without_a_state_is_refused_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    forced(tmp_path, published(tmp_path))
    follower = VersionFollower(tmp_path, ("ease",), session_model, list)
    assert not follower.refresh()
    assert (follower.current, follower.faults) == ([], 1)
    assert "kind 'item_weights' has no state to advance; FRESHET_SESSION_MODEL takes a recurrent model" in caplog.text


def test_a_published_version_is_followed(tmp_path: Path) -> None:
    follower = VersionFollower(tmp_path, ("session_rnn",), session_model, list)
    version = publish_session(tmp_path)
    assert follower.refresh()
    assert [found.name for found in follower.current] == [f"session_rnn@{version}"]
    sessions = Sessions(follower.current[0])
    sessions.apply(*stream(30, users=1))
    assert sessions.off("u0") < 1e-6


@pytest.mark.parametrize(("given", "names"), [("session_rnn", ("session_rnn",)), (" mine ", ("mine",)), ("none", ()), ("", ())])
def test_the_setting_names_one_model_or_none(given: str, names: tuple[str, ...]) -> None:
    assert Settings(session_model=given).session_models == names
