"""A local stack whose API asks for keys: it gets ready, and the keys are written nowhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from ops import stack
from ops.demo_api import Api, admin_key
from ops.stack.state import Folder
from schemas.errors import FreshetError
from schemas.settings import Settings
from tests.access_world import ADMIN, KEYS, READER, WRITER
from tests.servers import TestServers
from tests.stack_world import own_home


@pytest.fixture
def plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    monkeypatch.delenv("FRESHET_API_KEYS", raising=False)
    with own_home(tmp_path, monkeypatch) as given:
        yield given


@pytest.mark.integration
@pytest.mark.slow
def test_a_stack_with_keys_is_ready_and_writes_them_nowhere(stack_servers: TestServers, plain: Settings) -> None:
    """Given to `up` as settings, not as a variable of this process: the API must not come up open then either."""
    addresses = {"kafka": stack_servers.kafka, "redis": stack_servers.redis}
    settings = plain.model_copy(update={**addresses, "api_keys": SecretStr(KEYS)})
    up = stack.up(settings, "keyed", 1, frozenset({"api"}), lambda line: None)
    assert up.api is not None
    assert httpx.get(f"{up.api}/v1/popular").status_code == 401
    with Api(up.api, admin_key(settings)) as api:
        assert api.user("nobody")["history"] == []
    with Api(up.api, READER) as api, pytest.raises(FreshetError, match="403"):
        api.user("nobody")
    written = [path for path in Folder.of(settings, "keyed").path.rglob("*") if path.is_file()]
    assert len(written) > 3
    for path in written:
        assert not any(key.encode() in path.read_bytes() for key in (WRITER, READER, ADMIN)), path
