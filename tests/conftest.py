"""Real Kafka and Redis for the integration tests: testcontainers where a Docker engine runs, native processes elsewhere."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from batch.lake import storage
from schemas.settings import Settings
from tests.live import Live
from tests.servers import TestServers, start_servers

DATA = Path(os.environ.get("FRESHET_DATA") or Path(__file__).parents[2] / "shared" / "data")


@pytest.fixture(scope="session", autouse=True)
def heeded() -> None:
    """Ctrl-C counts, also where the tests run in the background of a shell, which has SIGINT ignored by all below it."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder with the public data sets."""
    if not DATA.is_dir():
        pytest.skip("no data sets: FRESHET_DATA is not set")
    return DATA


@pytest.fixture(scope="session")
def stack_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestServers]:
    """One Kafka and one Redis for the whole session, shared by tests that do not mind each other's records."""
    with start_servers(tmp_path_factory.mktemp("shared-servers")) as servers:
        yield servers


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A Kafka and a Redis for one test module alone, with all topics, and means to run workers and the API on them."""
    folder = tmp_path_factory.mktemp("live")
    with start_servers(folder) as servers:
        settings = Settings.from_environment({}, kafka=servers.kafka, redis=servers.redis, session_timeout_ms=2000, partitions=4)
        with Live(servers, settings, folder) as running:
            running.create_topics()
            yield running


@pytest.fixture
def without_power_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting for the disk takes most of the time, and nobody pulls the plug here."""
    monkeypatch.setattr(storage, "sync_to_disk", lambda path: None)
