"""The filter language: what it says of items, how it refuses, and that no text can harm it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.filters.attributes import Facts, Person, fields_of
from serving.filters.compiled import compiled, predicate
from serving.filters.errors import InvalidFilter
from serving.filters.parser import MAX_DEPTH, parse
from serving.filters.syntax import (
    AllOf,
    AnyOf,
    Attribute,
    Comparison,
    Condition,
    Items,
    Literal,
    Membership,
    Not,
    Truth,
    text_of,
)  # fmt: skip
from serving.filters.tokens import MAX_LENGTH

DAY = 86_400_000
RAW = (
    b'{"item_id": "7", "title": "Airplane!", "categories": ["comedy"], "tags": ["plane"], "price": 12.5, "created_at": 1000,'
    b' "attributes": {"brand": "Acme", "size": {"width": 3}, "on-sale": true, "price": 99, "list": [1, "a", true], "none": null}}'
)
AIRPLANE = Facts("7", fields_of(RAW), Person(seen=frozenset("7"), bought=frozenset("7")), now_ms=1000 + 2 * DAY)
UNKNOWN = Facts("8")

HOLDS = [
    'price < 20 and "comedy" in categories and not bought or seen',
    "price == 12.5",
    "price > -1 and price >= 12 and price <= 1.25e1 and price != 3",
    "20 > price",
    '"horror" not in categories',
    "not hidden",
    "seen AND bought",
    "available == true",
    "item_id in ['7', \"8\"]",
    '"plane" in title',
    'title < "B"',
    'brand == "Acme"',
    'attributes.brand in ["Acme", "Other"]',
    "size.width == 3 and attributes.size.width < 4",
    "`on-sale`",
    "attributes.price == 99",
    "1 in list and true in list and 2 not in list",
    "age_days == 2 and age_hours == 48",
    'created_at < "1970-01-02T00:00:00Z" and created_at >= 1000',
    "true",
    "price in [12.5, 3]",
    "brand not in [1, 2]",
    "not (price < 3 or price > 20)",
]
HOLDS_NOT = [
    'price < 20 and "Comedy" in categories',
    "price > 12.5",
    'title == "airplane!"',
    "false",
    "brand",
    "brand == 1",
    "brand < 3",
    "list == list",
    "size < size",
    "none == none",
    "none in list",
    "true in [1]",
    "1 in brand",
    '"a" in size',
    "hidden",
    "size.width.depth == 3",
]
MISSING = [
    "x == 1",
    "x != 1",
    "x < 1",
    "x in [1]",
    "x not in [1]",
    "1 in x",
    "1 not in x",
    "x",
    "price != 5",
    "age_days > 0",
    "available",
]


@pytest.mark.parametrize("text", HOLDS)
def test_what_holds(text: str) -> None:
    assert compiled(text)(AIRPLANE)


@pytest.mark.parametrize("text", HOLDS_NOT)
def test_what_does_not_hold(text: str) -> None:
    assert not compiled(text)(AIRPLANE)


@pytest.mark.parametrize("text", MISSING)
def test_what_is_missing_makes_a_comparison_false_and_its_negation_true(text: str) -> None:
    assert not compiled(text)(UNKNOWN)
    assert compiled(f"not ({text})")(UNKNOWN)


def test_and_binds_closer_than_or() -> None:
    assert parse("a or b and c") == parse("a or (b and c)")
    assert parse("not a and b") == parse("(not a) and b")


REFUSED = [
    ("", 1, "an attribute", "the end"),
    ("price <", 8, "an attribute", "the end"),
    ("price < 20 and", 15, "an attribute", "the end"),
    ("price = 20", 7, "==", "'='"),
    ("price < 20 & seen", 12, "and", "'&'"),
    ("price", 6, "<", "the end"),
    ("price and seen", 7, "<", "and"),
    ("1 < price < 5", 11, "and, or, or the end", "<"),
    ("(seen", 6, ")", "the end"),
    ("seen)", 5, "the end", ")"),
    ('title == "x', 12, 'a closing "', "the end"),
    (r'title == "\x"', 11, "one of", r"\x"),
    ("price < 1e999", 9, "a number", "1e999"),
    ("price < 'x'", 9, "a number", "a text"),
    ("price == seen", 10, "a number", "true or false"),
    ("seen < true", 6, "==", "<"),
    ("categories == 'x'", 12, "in", "=="),
    ("[1] in categories", 1, "one value", "a list"),
    ("1 in price", 6, "a list", "a number"),
    ("1 in title", 1, "a text", "a number"),
    ("x in [1 2]", 9, ", or ]", "2"),
    ("x in [y]", 7, "a number", "y"),
    ("x not 3", 7, "in", "3"),
    ("created_at > 'yesterday'", 14, "a time", "'yesterday'"),
    ("x.1 == 2", 2, "and", ".1"),
    ("x # y", 3, "a sign", "'#'"),
]


@pytest.mark.parametrize(("text", "column", "expected", "found"), REFUSED)
def test_a_refusal_names_the_column_and_what_could_stand_there(text: str, column: int, expected: str, found: str) -> None:
    with pytest.raises(InvalidFilter) as refused:
        parse(text)
    assert refused.value.column == column
    assert expected in refused.value.expected
    assert refused.value.found == found
    assert str(refused.value) == f"column {column}: expected {refused.value.expected}, found {found}"


def test_length_and_depth_are_bounded() -> None:
    assert parse("(" * MAX_DEPTH + "seen" + ")" * MAX_DEPTH) == Truth(Attribute(("seen",)))
    for deep in ("(" * (MAX_DEPTH + 1) + "seen" + ")" * (MAX_DEPTH + 1), "not " * (MAX_DEPTH + 1) + "seen", "(" * MAX_LENGTH):
        with pytest.raises(InvalidFilter, match="at most 32"):
            parse(deep)
    with pytest.raises(InvalidFilter, match="at most 2000 characters"):
        parse("seen".ljust(MAX_LENGTH + 1))


def test_a_record_without_a_time_has_no_age() -> None:
    assert not compiled("age_days >= 0 or age_days < 0")(Facts("7", fields_of(b'{"item_id": "7", "created_at": "soon"}')))


# --- no text harms it

WORDS = st.sampled_from(
    ["price", "seen", "brand", "`a b`", "and", "or", "not", "in", "(", ")", "[", "]", ",", ".", "<", "==", "!=", "1", "-2.5", "1e9",
     "'x'", '"y"', "true", " ", "=", "#", "\\", '"', "created_at", "categories", "é", "\0"]
)  # fmt: skip


@given(st.one_of(st.text(max_size=60), st.lists(WORDS, max_size=25).map(" ".join), st.lists(WORDS, max_size=25).map("".join)))
def test_any_text_is_parsed_or_refused_with_a_column_inside_it(text: str) -> None:
    try:
        condition = parse(text)
    except InvalidFilter as refused:
        assert 1 <= refused.column <= len(text) + 1
        return
    assert parse(text_of(condition)) == condition
    assert predicate(condition)(AIRPLANE) in (True, False)


NAMES = st.one_of(st.sampled_from(["a", "in", "TRUE", "a b", "é", "x1"]), st.text("ab_-. \n", min_size=1, max_size=5))
SCALARS: st.SearchStrategy[Any] = st.one_of(
    st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=8)
)
ATTRIBUTES = st.builds(lambda *path: Attribute(("custom", *path)), NAMES, NAMES)  # of any type, so that every tree is allowed
OPERANDS = st.one_of(ATTRIBUTES, SCALARS.map(Literal))
TESTS = st.one_of(
    st.builds(Comparison, st.sampled_from(["==", "!="]), ATTRIBUTES, OPERANDS),
    st.builds(Membership, OPERANDS, st.one_of(ATTRIBUTES, st.lists(SCALARS, max_size=4).map(tuple).map(Items)), st.booleans()),
    st.one_of(ATTRIBUTES, st.booleans().map(Literal)).map(Truth),
)
PARTS = {"min_size": 2, "max_size": 3}
CONDITIONS: st.SearchStrategy[Condition] = st.recursive(
    TESTS,
    lambda inner: st.one_of(
        inner.map(Not), st.lists(inner, **PARTS).map(tuple).map(AllOf), st.lists(inner, **PARTS).map(tuple).map(AnyOf)
    ),
    max_leaves=8,
)


@given(CONDITIONS)
def test_a_tree_that_is_written_and_parsed_is_the_same_tree(condition: Condition) -> None:
    text = text_of(condition)
    again = parse(text)
    assert again == condition
    assert repr(again) == repr(condition)  # tells 1 from true and 1.0
    assert text_of(again) == text


@given(CONDITIONS, st.dictionaries(NAMES, st.dictionaries(NAMES, SCALARS, max_size=2), max_size=3))
def test_every_tree_answers_for_every_record(condition: Condition, custom: dict[str, Any]) -> None:
    facts = Facts("7", {"attributes": {"custom": custom}})
    assert predicate(condition)(facts) is not predicate(Not(condition))(facts)
