"""The synthetic stream: the same for the same seed, valid, and with the traits of real ones."""

from collections import Counter
from itertools import pairwise

import orjson
import pytest

from ops.datasets import open_source
from ops.sources import Source
from ops.synthetic import Shape, SyntheticSource
from schemas.errors import InvalidInput
from schemas.events import Item, User, parse_event


@pytest.fixture(scope="module")
def source() -> Source:
    return SyntheticSource(Shape(events=20_000, users=500, items=300, seed=3))


def test_the_same_shape_gives_the_same_stream(source: Source) -> None:
    again = SyntheticSource(Shape(events=20_000, users=500, items=300, seed=3))
    assert list(again.events()) == list(source.events()) == list(source.events())
    assert list(again.items()) == list(source.items())
    assert list(again.users()) == list(source.users())


def test_another_seed_gives_another_stream() -> None:
    one, other = (list(SyntheticSource(Shape(events=500, seed=seed)).events()) for seed in (1, 2))
    assert [event.value["item_id"] for event in one] != [event.value["item_id"] for event in other]


def test_events_are_as_many_as_asked_in_order_valid_and_with_unique_ids(source: Source) -> None:
    events = list(source.events())
    assert len(events) == source.count == 20_000
    assert all(before.timestamp_ms <= after.timestamp_ms for before, after in pairwise(events))
    assert len({event.value["event_id"] for event in events}) == len(events)
    for event in events[::50]:
        parse_event(event.topic, orjson.dumps(event.value), event.timestamp_ms)


def test_catalogue_and_profiles_are_as_the_contract_says(source: Source) -> None:
    items = [Item.model_validate(item) for item in source.items()]
    assert len({item.title for item in items}) == len(items) == 300
    assert len([User.model_validate(user) for user in source.users()]) == 500


def test_nothing_happens_to_an_item_before_it_appears(source: Source) -> None:
    created = {item["item_id"]: item["created_at"] for item in source.items()}
    assert all(event.timestamp_ms >= created[event.value["item_id"]] for event in source.events())


def test_popularity_is_skewed_and_drifts(source: Source) -> None:
    events = [event.value["item_id"] for event in source.events()]
    top = Counter(events).most_common(30)
    assert sum(count for _, count in top) > 0.35 * len(events)
    early, late = ({item for item, _ in Counter(part).most_common(10)} for part in (events[:4000], events[-4000:]))
    assert early != late


def test_new_items_and_users_keep_coming(source: Source) -> None:
    events = list(source.events())
    for name in ("item_id", "user_id"):
        early = {event.value[name] for event in events[:10_000]}
        assert {event.value[name] for event in events[10_000:]} - early


def test_views_lead_and_purchases_are_rare(source: Source) -> None:
    counts = Counter(event.value.get("type", event.topic) for event in source.events())
    assert counts["views"] > counts["clicks"] > counts["add_to_cart"] > counts["purchase"] > 0


@pytest.mark.parametrize("shape", ["1,1,12,0", "100,5,12", "3000,10,5000,7"])
def test_small_and_odd_shapes_work(shape: str) -> None:
    source = open_source(f"synthetic:{shape}", None)
    assert len(list(source.events())) == source.count == int(shape.partition(",")[0])


@pytest.mark.parametrize("parameters", ["x", "0", "-5", "10,10,3", "1,2,12,4,5", "1.5", "10,,12,-1"])
def test_bad_parameters_are_named(parameters: str) -> None:
    with pytest.raises(InvalidInput, match="synthetic"):
        open_source(f"synthetic:{parameters}", None)
