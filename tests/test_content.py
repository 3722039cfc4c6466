"""Content neighbours: the cosine by hand, items that come, change and go, and bounds that hold whatever the catalogue says."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stream_workers.models.online.content import DEPTH, HISTORY, QUESTION_TOKENS, ContentNeighbours, ContentSettings
from stream_workers.models.online.content_tokens import TOKENS, tokens_of

BOUND = QUESTION_TOKENS * DEPTH


def films() -> ContentNeighbours:
    content = ContentNeighbours()
    content.put("alien", ["Horror", "Sci-Fi"], ["space"], "Alien (1979)")
    content.put("aliens", ["Action", "Sci-Fi"], ["space"], "Aliens (1986)")
    content.put("shining", ["Horror"], (), "The Shining (1980)")
    content.put("airplane", ["Comedy"], (), "Airplane! (1980)")
    return content


# --- tokens


@pytest.mark.parametrize(
    ("title", "words"),
    [
        ("The Matrix (1999)", ["matrix"]),
        ("Matrix, The (1999)", ["matrix"]),
        ("2001: A Space Odyssey", ["space", "odyssey"]),
        ("Schindler's List", ["schindler", "list"]),
        ("AMÉLIE", ["amélie"]),
        ("Ame\u0301lie", ["amélie"]),  # the same in two characters
        ("七人の侍", ["七人の侍"]),
        ("The Of And", []),
        ("", []),
        ("1984", []),
        ("\U0001f600 !!! ___", []),
    ],
)
def test_words_of_titles(title: str, words: list[str]) -> None:
    assert tokens_of((), (), title) == words


def test_a_category_and_a_tag_of_one_name_are_one_token_and_a_word_is_another() -> None:
    assert tokens_of(["Horror"], ["horror", " "], "Horror") == ["=horror", "horror"]


def test_a_hundred_tags_leave_the_title_its_part() -> None:
    tokens = tokens_of([], [f"tag{n}" for n in range(100)], "alpha beta gamma")
    assert len(tokens) == TOKENS
    assert {"alpha", "beta", "gamma"} < set(tokens)


# --- the cosine


def test_the_cosine_by_hand() -> None:
    content = films()
    once, twice = math.log(1 + 4 / 1), math.log(1 + 4 / 2)  # of four items one, or two, have the token
    found, scores = content.similar("alien", 10)
    alien, aliens = math.sqrt(3 * twice**2 + once**2), math.sqrt(2 * twice**2 + 2 * once**2)
    shining = math.sqrt(twice**2 + once**2)
    assert found == ["aliens", "shining"]
    assert scores.tolist() == pytest.approx([2 * twice**2 / (alien * aliens), twice**2 / (alien * shining)], rel=1e-5)
    assert content.shared("alien", "aliens") == ["sci-fi", "space"]


def test_the_history_by_hand() -> None:
    content = films()
    found, scores = content.candidates(["airplane", "shining"], 10, exclude=("airplane", "shining"), decay=0.5)
    once, twice = math.log(5), math.log(3)
    of_airplane, of_shining, of_alien = math.sqrt(2) * once, math.hypot(twice, once), math.sqrt(3 * twice**2 + once**2)
    profile = {"comedy": once / of_airplane, "airplane": once / of_airplane, "horror": twice / of_shining / 2}
    profile["shining"] = once / of_shining / 2
    length = math.sqrt(sum(value**2 for value in profile.values()))
    assert found == ["alien"]
    assert scores.tolist() == pytest.approx([profile["horror"] * twice / (length * of_alien)], rel=1e-5)
    assert content.closest("alien", ["airplane", "shining"]) == "shining"
    assert content.closest("alien", ["airplane"]) is None


def test_what_was_taken_last_counts_most() -> None:
    content = films()
    content.put("scream", ["Horror"], (), "Scream")
    content.put("shrek", ["Comedy"], (), "Shrek")
    assert content.candidates(["airplane", "shining"], 1, ("airplane", "shining"), decay=0.1)[0] == ["shrek"]
    assert content.candidates(["shining", "airplane"], 1, ("airplane", "shining"), decay=0.1)[0] == ["scream"]


def test_equals_come_newest_first() -> None:
    content = ContentNeighbours()
    for n in range(5):
        content.put(str(n), ["Horror"])
    assert content.similar("0", 10)[0] == ["4", "3", "2", "1"]


def test_unknown_items_and_an_empty_catalogue() -> None:
    content = ContentNeighbours()
    for found, scores in (content.similar("7", 10), content.candidates([], 10), films().candidates(["nobody"], 10)):
        assert (found, scores.tolist()) == ([], [])
    assert content.shared("7", "8") == []


# --- coming, changing, going


def test_an_item_is_found_at_once_and_gone_at_once() -> None:
    content = films()
    content.put("thing", ["Horror"], (), "The Thing")
    assert "thing" in content.similar("shining", 10)[0]
    content.remove("thing")
    content.remove("thing")
    assert "thing" not in content.similar("shining", 10)[0]
    assert "thing" not in content


def test_an_item_that_changes_is_found_by_what_it_is_now() -> None:
    content = films()
    content.put("shining", ["Comedy"], (), "The Shining")
    assert content.similar("airplane", 10)[0] == ["shining"]
    assert "shining" not in content.similar("alien", 10)[0]


def test_the_same_entry_again_does_not_make_an_item_newer() -> None:
    content = ContentNeighbours()
    for item in "abc":
        content.put(item, ["Horror"])
    content.put("a", ["Horror"])
    assert content.similar("b", 10)[0] == ["c", "a"]


def test_any_order_of_changes_ends_where_the_plain_way_ends() -> None:
    """A thousand changes, and then the same answers as from an index of only what is left."""
    rng = np.random.default_rng(3)
    content, left = ContentNeighbours(), dict[str, tuple[list[str], str]]()
    for _ in range(1000):
        item = str(rng.integers(60))
        if rng.random() < 0.3:
            content.remove(item)
            left.pop(item, None)
            continue
        entry = ([f"g{n}" for n in rng.integers(6, size=2)], " ".join(f"w{chr(97 + n)}" for n in rng.integers(20, size=3)))
        content.put(item, entry[0], (), entry[1])
        left[item] = entry
    fresh = ContentNeighbours()
    for item, (categories, title) in left.items():
        fresh.put(item, categories, (), title)
    assert len(content) == len(left) > 10
    for item in left:
        mine, theirs = content.similar(item, 100), fresh.similar(item, 100)
        assert dict(zip(*mine, strict=True)) == pytest.approx(dict(zip(*theirs, strict=True)), rel=1e-5)


def test_tokens_that_nobody_has_any_more_leave_nothing_behind() -> None:
    content = ContentNeighbours()
    for n in range(5000):
        content.put("7", [f"category {n}"], [f"tag {n}"], f"title{'x' * (n % 50)}")
    assert content.nbytes() == ContentNeighbours().nbytes()
    assert sum(content.weight(f"=category {n}") > 0 for n in range(5000)) == 1


# --- hostile catalogues


def test_a_token_that_all_have_costs_no_more_than_its_depth() -> None:
    content = ContentNeighbours()
    for n in range(3 * BOUND):
        content.put(str(n), ["Everything"], (), f"name{'abcdefghij'[n % 10]}")
    content.similar("7", 10)
    assert content.work <= 2 * DEPTH
    content.candidates([str(n) for n in range(1000)], 500)
    assert content.work <= BOUND
    scores = content.similar("7", 10)[1]
    assert np.isfinite(scores).all() and scores.max() <= 1 + 1e-5


def test_a_title_of_ten_thousand_words_and_a_thousand_tags() -> None:
    content = ContentNeighbours()
    huge = " ".join(f"word{'abcdefghij'[n % 10]}{'xyz'[n % 3] * (n % 17)}" for n in range(10_000))
    for n in range(20):
        content.put(str(n), [f"c{m}" for m in range(1000)], [f"t{m}" for m in range(1000)], huge)
    assert all(len(content.tokens(str(n))) == TOKENS for n in range(20))
    assert len(content.similar("0", 100)[0]) == 19
    assert content.candidates([str(n) for n in range(20)] * 50, 5)[1].max() <= 1 + 1e-5


@pytest.mark.parametrize(
    "title", ["", " ", "\x00\x01", "\ud800", "İ" * 100, "e\u0301\u0301\u0301" * 300, "\u202e\u200b", "ﷺ" * 500, "😀"]
)
def test_odd_titles(title: str) -> None:
    content = ContentNeighbours()
    content.put("odd", ["Horror"], ["\ud800", ""], title)
    content.put("plain", ["Horror"], (), "Alien")
    found, scores = content.similar("plain", 10)
    assert found == ["odd"] and np.isfinite(scores).all()


def test_items_without_a_single_token() -> None:
    content = ContentNeighbours()
    for n in range(100):
        content.put(str(n), (), (), None if n % 2 else "  ")
    assert content.similar("1", 10)[0] == []
    assert content.candidates([str(n) for n in range(100)], 10)[0] == []


def test_memory_has_a_limit_and_the_newest_items_are_those_that_stay() -> None:
    content = ContentNeighbours(ContentSettings(max_items=1024, max_tokens=2048))
    size = content.nbytes()
    for n in range(5000):
        content.put(str(n), ["Everything"], [f"tag {n}"], f"only{n}")
    assert len(content) == 1024
    assert content.nbytes() <= 2 * size
    assert "4999" in content and "0" not in content
    assert content.similar("4999", 1)[0] == ["4998"]


def test_too_many_different_tokens_leave_items_to_be_found_by_the_others() -> None:
    content = ContentNeighbours(ContentSettings(max_items=1 << 20, max_tokens=100))
    for n in range(2000):
        content.put(str(n), ["Horror"], [f"unique {n}"])
    assert content.similar("1999", 3)[0] == ["1998", "1997", "1996"]


def test_a_million_items_need_what_is_stated() -> None:
    """Not filled, counted: the arrays are 196 bytes an item, 12 a token, in steps of two."""
    content = ContentNeighbours()
    for n in range(1025):
        content.put(str(n), ["Everything"])
    arrays = content.nbytes()
    assert arrays == 2048 * (3 * 4 * TOKENS + 4) + 1024 * 12
    settings = ContentSettings()
    assert settings.max_items >= 1_000_000
    assert settings.max_items * 196 + settings.max_tokens * 12 < 220 * 1024**2


def test_only_the_newest_of_a_long_history_are_asked_for() -> None:
    content = films()
    for n in range(HISTORY):
        content.put(f"comedy{n}", ["Comedy"])
    history = [f"comedy{n}" for n in range(HISTORY)] + ["alien"] * 100_000
    assert "aliens" not in content.candidates(history, 50)[0]
