"""A producer's event, in whatever way it comes, changes that user's list and no one else's; bad events harm nobody."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import orjson
import pytest
from aiokafka import AIOKafkaProducer
from confluent_kafka import Producer
from kafka import KafkaProducer

from tests.live import Live, event, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def api(live: Live) -> Iterator[str]:
    """A worker and an API over a small catalogue in which a1..a9 are taken together, and b1..b9."""
    items = [
        ("items", f"{g}{n}", orjson.dumps({"item_id": f"{g}{n}", "title": f"Film {g}{n}"})) for g in "ab" for n in range(1, 10)
    ]
    live.produce(items)
    now = int(time.time() * 1000) - 3_600_000
    rng = random.Random(5)
    crowd = []
    for u in range(60):
        group = "ab"[u % 2]
        crowd += [
            ("clicks", f"crowd{u}", event(f"crowd{u}", f"{group}{n}", now + rng.randrange(1000)))
            for n in rng.sample(range(1, 10), 6)
        ]
    live.produce(crowd)
    live.worker()
    url = live.api()
    live.settle()
    yield url


def kafka_python(live: Live, value: bytes, key: str) -> None:
    producer = KafkaProducer(bootstrap_servers=live.servers.kafka, acks="all")
    producer.send("clicks", key=key.encode(), value=value).get(timeout=20)
    producer.close()


def aiokafka(live: Live, value: bytes, key: str) -> None:
    async def send() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=live.servers.kafka, acks="all")
        await producer.start()
        try:
            await producer.send_and_wait("clicks", value, key.encode())
        finally:
            await producer.stop()

    asyncio.run(send())


def confluent_kafka(live: Live, value: bytes, key: str) -> None:
    # With librdkafka's own default partitioner: the event lands on another partition than Java's, and is forwarded.
    producer = Producer({"bootstrap.servers": live.servers.kafka})
    producer.produce("clicks", value, key)
    assert producer.flush(20) == 0


def over_http(api: str, value: bytes, key: str) -> None:
    posted = httpx.post(f"{api}/v1/events", json={"type": "click"} | orjson.loads(value))
    assert posted.status_code == 202, posted.text
    assert posted.json() == {"accepted": 1, "rejected": []}


def recommended(api: str, user: str) -> list[str]:
    answer = httpx.get(f"{api}/v1/users/{user}/recommendations", params={"k": 5})
    assert answer.status_code == 200, answer.text
    return [item["item_id"] for item in answer.json()["items"]]


@pytest.mark.parametrize("send", [kafka_python, aiokafka, confluent_kafka, over_http], ids=lambda f: f.__name__)
def test_a_click_changes_this_users_list_and_not_anothers(live: Live, api: str, send: Callable[..., Any]) -> None:
    user, other = f"{send.__name__}-one", f"{send.__name__}-other"
    live.produce([("clicks", other, event(other, item, int(time.time() * 1000))) for item in ("b1", "b2", "b3")])
    live.settle()
    before, others_before = recommended(api, user), recommended(api, other)
    assert others_before[0].startswith("b")
    for item in ("a1", "a2"):
        value = event(user, item, int(time.time() * 1000), event_id=f"{user}-{item}")
        send(api if send is over_http else live, value, user)
    wait_until(lambda: (state := live.user(user)) is not None and state.counts[1] == 2, 20, "both clicks to be applied")
    after = recommended(api, user)
    assert after != before
    assert after[0].startswith("a"), "what others took together with a1 and a2 comes first"
    assert not {"a1", "a2"} & set(after), "what the user has seen is not recommended again"
    assert recommended(api, other) == others_before


def test_an_event_sent_twice_counts_once(live: Live, api: str) -> None:
    value = event("twice", "a3", int(time.time() * 1000), event_id="same")
    live.produce([("clicks", "twice", value)] * 5)
    live.settle()
    assert httpx.get(f"{api}/v1/users/twice").json()["counts"]["click"] == 1


def test_counts_of_a_user_and_an_item_are_exact(live: Live, api: str) -> None:
    now = int(time.time() * 1000)
    live.produce([("views", "counted", event("counted", "solo", now + n)) for n in range(7)])
    live.produce([("feedback", "counted", event("counted", "solo", now + 10, type="like"))])
    live.settle()
    user = httpx.get(f"{api}/v1/users/counted").json()
    assert (user["counts"]["view"], user["counts"]["like"], len(user["history"])) == (7, 1, 8)
    item = httpx.get(f"{api}/v1/items/solo").json()
    assert (item["counts"]["view"], item["counts"]["like"]) == (7, 1)


def test_freshness_is_measured(live: Live, api: str) -> None:
    live.produce([("clicks", "fresh", event("fresh", "a1", int(time.time() * 1000)))])
    live.settle()
    freshness = httpx.get(f"{api}/v1/users/fresh/recommendations").json()["freshness"]
    assert 0 <= freshness["event_to_effect_ms"] < 10_000
    assert 0 <= freshness["age_ms"] < 30_000
