"""The lake in a bucket: the same files and the same promises on a server that speaks S3 as in a folder."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import duckdb
import fsspec
import pytest
from pyarrow import parquet

from batch.lake.compacting import compact
from batch.lake.storage import Storage
from tests.lake_world import NOW, ListLog, filled, in_lake, in_log, lake_at, mixed_log

for package in ("s3fs", "moto.server"):
    pytest.importorskip(package, reason="cannot be locked beside matplotlib: docs/lake.md")
BUCKET = "freshet-test"
URL = f"s3://{BUCKET}/lake"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.1)
    yield f"http://127.0.0.1:{port}"
    server.terminate()
    server.wait(10)


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[fsspec.AbstractFileSystem]:
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    fsspec.filesystem("s3").clear_instance_cache()
    files = fsspec.filesystem("s3")
    files.mkdir(BUCKET)
    yield files
    files.rm(BUCKET, recursive=True)


def objects(files: fsspec.AbstractFileSystem) -> Counter[tuple[str, int, int]]:
    """How often each topic, partition and offset is found by one who only looks at the bucket."""
    found: Counter[tuple[str, int, int]] = Counter()
    for path in files.glob(f"{BUCKET}/lake/**/*.parquet"):
        with files.open(path) as file:
            rows = parquet.ParquetFile(file).read(["partition", "offset"]).to_pylist()
        topic = path.split("/")[-3].removeprefix("topic=")
        found.update((topic, row["partition"], row["offset"]) for row in rows)
    return found


def test_each_event_is_there_once_after_syncs_and_a_compaction(bucket: fsspec.AbstractFileSystem) -> None:
    log = mixed_log(40)
    filled(URL, log, 7)
    for n in range(20):
        log.event(f"u{n}", "late", partition=n % 2)
    filled(URL, log, 7)
    assert in_lake(lake_at(URL)) == objects(bucket) == in_log(log)
    report = compact(lake_at(URL), NOW)
    assert report.merged > report.written > 0
    assert in_lake(lake_at(URL)) == in_log(log)


def test_of_syncs_at_the_same_time_each_event_counts_once(bucket: fsspec.AbstractFileSystem) -> None:
    """A bucket has no locks: the second of two commits of one name is refused."""
    log = mixed_log(60)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: filled(URL, log, 7), range(3)))
    assert in_lake(lake_at(URL)) == in_log(log)


def test_the_second_of_two_that_create_a_file_is_told(bucket: fsspec.AbstractFileSystem) -> None:
    storage = Storage(URL)
    assert storage.create("one", b"first", "staged")
    assert not storage.create("one", b"second", "staged")
    assert storage.read("one") == b"first"


def test_duckdb_reads_the_objects(bucket: fsspec.AbstractFileSystem) -> None:
    log = ListLog()
    for n in range(40):
        log.event(f"u{n % 5}", f"i{n % 7}", partition=n % 2)
    filled(URL, log, 7)
    with duckdb.connect() as db:
        db.register_filesystem(bucket)
        counted = db.sql(f"SELECT count(*), count(DISTINCT user_id) FROM '{URL}/topic=clicks/*/*.parquet'").fetchall()
    assert counted == [(40, 5)]
