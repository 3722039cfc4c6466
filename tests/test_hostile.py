"""Promise 5: a bad event harms nobody. 10,000 hostile messages among good ones."""

from __future__ import annotations

import base64
import json
import random
import time
from collections import Counter

import orjson
import pytest

from tests.live import Live, Record, event

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(300)]
HOSTILE = 10_000
TOPICS = ("views", "clicks", "feedback")


def hostile_value(rng: random.Random, now: int) -> bytes | None:
    """One message that must not be applied."""
    good = orjson.loads(event("victim", "i1", now, event_id="x", type="like"))

    def broken(**fields: object) -> bytes:
        return json.dumps(good | fields).encode()

    lost = rng.choice(["user_id", "item_id", "timestamp"])
    without = {name: value for name, value in good.items() if name != lost}
    text = orjson.dumps(good)
    choices = [
        lambda: None,
        lambda: b"",
        lambda: rng.randbytes(rng.randrange(1, 400)),
        lambda: text[: rng.randrange(1, len(text))],
        lambda: b"[" * rng.randrange(300, 5000),
        lambda: b'{"a":' * 2000 + b"1" + b"}" * 2000,
        lambda: orjson.dumps(without),
        lambda: orjson.dumps([good]),
        lambda: text + b"," + text,
        lambda: text[:-1] + b',"context":{"a":["deep"]}}',
        lambda: broken(user_id=rng.choice([1, None, [], {}, True, "", "a\x00b", "line\nbreak", "x" * 257, "ü" * 200])),
        lambda: broken(item_id=rng.choice([1.5, None, ["i"], "", "tab\t", "y" * 300])),
        lambda: broken(timestamp=rng.choice([None, "", "yesterday", "2026-01-01", "2026-01-01T00:00:00", 1.5, True, -1, 0, "NaN"])),
        lambda: broken(
            timestamp=rng.choice([now + 3_600_000, 4_102_444_800_000, 10**30, "2100-01-01T00:00:00Z", "1900-01-01T00:00:00Z"])
        ),
        lambda: text.replace(str(now).encode(), rng.choice([b"NaN", b"Infinity", b"-Infinity", b"1e400"])),
        lambda: text[:-1] + b',"context":{"a":NaN}}',
        lambda: text.replace(b"victim", b"\xff\xfe\x80"),
        lambda: text.replace(b"victim", b"\\ud800"),
        lambda: broken(position=-1),
        lambda: broken(padding="z" * 200_000),
    ]
    return rng.choice(choices)()


def test_ten_thousand_hostile_messages_among_good_ones(live: Live) -> None:
    rng = random.Random(11)
    now = int(time.time() * 1000)
    worker = live.worker()
    hostile: list[Record] = [(rng.choice(TOPICS), f"k{n % 97}", hostile_value(rng, now)) for n in range(HOSTILE)]
    good: list[Record] = [
        ("clicks", f"good{n % 50}", event(f"good{n % 50}", f"i{n % 20}", now - n, event_id=f"g{n}")) for n in range(3000)
    ]
    mixed = hostile + good
    rng.shuffle(mixed)
    live.produce(mixed)
    live.settle(120)

    assert worker.poll() is None, "no restart"
    for user in range(50):
        state = live.user(f"good{user}")
        assert state is not None
        assert state.counts[1] == 60
    assert live.user("victim") is None, "nothing of a hostile message was applied"

    letters = [orjson.loads(message.value()) for message in live.read_topic("dead-letters")]
    places = Counter((letter["topic"], letter["partition"], letter["offset"]) for letter in letters)
    assert len(places) == HOSTILE
    assert set(places.values()) == {1}
    assert all(letter["reason"] and letter["error"] and letter["received_at"] for letter in letters)
    reasons = {letter["reason"] for letter in letters}
    assert reasons >= {"empty", "not_json", "invalid", "bad_timestamp", "timestamp_too_old", "timestamp_in_future", "too_large"}
    originals = {(m.topic(), m.partition(), m.offset()): m.value() for topic in TOPICS for m in live.read_topic(topic)}
    for letter in rng.sample(letters, 200):
        assert base64.b64decode(letter["value_base64"]) == (
            originals[letter["topic"], letter["partition"], letter["offset"]] or b""
        )


def test_hostile_catalogue_profiles_and_signals(live: Live) -> None:
    rng = random.Random(12)
    before = len(live.read_topic("dead-letters"))
    bad = [b"{", b"[]", b'{"item_id": 5}', b'{"item_id": "x", "categories": "Horror"}', rng.randbytes(50), b'{"user_id": ""}']
    live.produce([(topic, "key", value) for topic in ("items", "users", "item-signals") for value in bad])
    live.produce(
        [
            ("items", "fine", orjson.dumps({"item_id": "fine", "title": "Fine"})),
            ("clicks", "after", event("after", "fine", int(time.time() * 1000))),
        ]
    )
    live.settle(60)
    assert len(live.read_topic("dead-letters")) - before == 3 * len(bad)
    state = live.user("after")
    assert state is not None
    assert state.counts[1] == 1
