"""The lake on real Kafka: `kill -9` at random moments, offsets that vanished, a topic made anew, and the commands."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from batch.lake.columns import LAKE_TOPICS
from batch.lake.reading import interactions, open_lake
from schemas.topics import CLICKS, FEEDBACK, IMPRESSIONS, ITEMS, USERS, VIEWS
from tests.lake_world import DAY, on_disk
from tests.live import Live, Record, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]
COMMAND = (
    sys.executable,
    "-c",
    "from ops import cli, lake_cli; cli.app.add_typer(lake_cli.lake_app, name='lake'); cli.main()",
    "lake",
)
KILLS = 14


def made(count: int, seed: int) -> list[Record]:
    """Records of all topics over many days, some of them no events, some twice."""
    rng = random.Random(seed)
    records: list[Record] = []
    now = time.time_ns() // 1_000_000
    for n in range(count):
        user, item = f"u{rng.randrange(200)}", f"i{rng.randrange(90)}"
        topic = rng.choice([VIEWS, CLICKS, FEEDBACK])
        fields = {"user_id": user, "item_id": item, "timestamp": now - rng.randrange(25 * DAY), "event_id": f"{seed}-{n}"}
        more = {"type": rng.choice(["like", "purchase", "hide"])} if topic == FEEDBACK else {}
        records.append((topic, user, orjson.dumps(fields | more)))
        if n % 50 == 0:
            slate = {"request_id": f"r{n}", "user_id": user, "timestamp": now, "items": [{"item_id": item, "position": 0}]}
            records += [records[-1], (topic, user, b"no event"), (IMPRESSIONS, user, orjson.dumps(slate))]
            records += [
                (ITEMS, item, orjson.dumps({"item_id": item, "title": item})),
                (USERS, user, orjson.dumps({"user_id": user})),
            ]
    return records


def in_kafka(live: Live) -> Counter[tuple[str, int, int]]:
    return Counter((m.topic(), m.partition(), m.offset()) for topic in LAKE_TOPICS for m in live.read_topic(topic))


def start(live: Live, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([*COMMAND, *arguments], env=live.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def run(live: Live, *arguments: str) -> dict[str, Any]:
    done = start(live, *arguments, "--json")
    output, errors = done.communicate(timeout=120)
    assert done.returncode == 0, errors.decode()
    document: dict[str, Any] = orjson.loads(output)
    return document


def refused(live: Live, *arguments: str) -> str:
    done = start(live, *arguments)
    errors = done.communicate(timeout=120)[1].decode()
    assert done.returncode != 0
    return errors


def test_killed_at_random_moments_every_offset_is_there_once(live: Live, tmp_path: Path) -> None:
    lake, rng, killed = tmp_path / "lake", random.Random(5), 0
    live.produce(made(3000, 0))
    for n in range(KILLS):
        sync = start(live, "sync", "--lake", str(lake))
        wait_until(
            lambda sync=sync: next((lake / "_staging").glob("*/*"), None) or sync.poll() is not None, 60, "the sync to begin"
        )
        time.sleep(rng.random() ** 2 * 0.6)
        sync.send_signal(signal.SIGKILL)
        sync.communicate()
        killed += sync.returncode == -signal.SIGKILL
        assert max(on_disk(lake).values(), default=1) == 1
        live.produce(made(150, n + 1))
    assert killed > KILLS / 2
    report = run(live, "sync", "--lake", str(lake))
    assert on_disk(lake) == in_kafka(live)
    assert set(in_kafka(live).values()) == {1}
    assert report["lost"] == 0
    assert list((lake / "_staging").glob("*")) == []
    again = run(live, "sync", "--lake", str(lake))
    assert (again["events"], again["invalid"], again["files"]) == (0, 0, 0)


def test_syncs_and_compactions_at_once_leave_every_event_once(live: Live, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    run(live, "sync", "--lake", str(lake))
    live.produce(made(500, 100))
    both = [start(live, command, "--lake", str(lake)) for command in ("sync", "compact", "sync")]
    assert [(one.communicate(timeout=120), one.returncode)[1] for one in both] == [0, 0, 0]
    assert on_disk(lake) == in_kafka(live)
    written = run(live, "compact", "--lake", str(lake))
    assert on_disk(lake) == in_kafka(live)
    status = run(live, "status", "--lake", str(lake))["topics"]
    clicks = duckdb.execute("SELECT count(*) FROM read_parquet(?)", [f"{lake}/topic=clicks/**/*.parquet"]).fetchone()
    assert clicks == (status[CLICKS]["events"],)
    assert {int(p): end for p, end in status[CLICKS]["ends"].items()} == {p: end for (_, p), end in live.ends([CLICKS]).items()}
    assert written["forgotten"] == 0


def test_interactions_are_the_distinct_events(live: Live, tmp_path: Path) -> None:
    run(live, "sync", "--lake", str(tmp_path))
    found, offsets = interactions(open_lake(str(tmp_path)))
    events = [orjson.loads(m.value()) for t in (VIEWS, CLICKS, FEEDBACK) for m in live.read_topic(t) if m.value() != b"no event"]
    distinct = {(e["user_id"], e["event_id"]): e["timestamp"] for e in events if e.get("type") != "hide"}
    assert sorted(distinct.values()) == found.timestamps.tolist()
    assert found.catalogue.size == 90
    assert offsets["clicks-0"] == live.ends([CLICKS])[CLICKS, 0]


def test_what_retention_took_is_told(live: Live, tmp_path: Path) -> None:
    place = TopicPartition(VIEWS, 0, 20)
    admin = AdminClient({"bootstrap.servers": live.servers.kafka})
    admin.delete_records([place])[place].result(30)
    told = start(live, "sync", "--lake", str(tmp_path))
    errors = told.communicate(timeout=120)[1]
    assert told.returncode == 0
    assert "views-0: offsets 0 to 19 (20) are in neither log nor lake" in errors.decode()
    assert run(live, "status", "--lake", str(tmp_path))["topics"][VIEWS]["lost"] == 20


def test_a_topic_made_anew_is_refused_even_when_it_has_grown_as_long(live: Live, tmp_path: Path) -> None:
    run(live, "sync", "--lake", str(tmp_path))
    admin = AdminClient({"bootstrap.servers": live.servers.kafka})
    admin.delete_topics([USERS])[USERS].result(30)
    assert "users-0 is not in this Kafka" in refused(live, "sync", "--lake", str(tmp_path))
    wait_until(lambda: USERS not in admin.list_topics(timeout=10).topics, 30, "the topic to be gone")
    wait_until(lambda: admin.create_topics([NewTopic(USERS, 4)])[USERS].exception(30) is None, 30, "the topic to be there")
    live.produce([(USERS, f"u{n}", orjson.dumps({"user_id": f"u{n}"})) for n in range(2000)])
    assert "topic users is another one" in refused(live, "sync", "--lake", str(tmp_path))
    assert run(live, "sync", "--lake", str(tmp_path / "other"))["topics"][USERS]["events"] == 2000


def test_no_lake_and_no_kafka_are_said(live: Live, tmp_path: Path) -> None:
    assert f"no lake at {tmp_path}" in refused(live, "status", "--lake", str(tmp_path))
    assert f"no lake at {tmp_path}" in refused(live, "compact", "--lake", str(tmp_path))
    nobody = subprocess.run(
        [*COMMAND, "sync", "--lake", str(tmp_path)],
        env=live.environment(kafka="127.0.0.1:1"), capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert b"Kafka at 127.0.0.1:1 cannot be reached" in nobody.stderr
