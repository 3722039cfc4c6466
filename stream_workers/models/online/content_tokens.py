"""What the catalogue says of an item, as a few tokens: its categories, its tags, and the words of its title."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import islice, zip_longest
from typing import Final

TOKENS: Final = 16  # of one item
LABEL: Final = "="
"""Begins the token of a category or a tag; words of titles have no such beginning."""
_LONGEST_TOKEN: Final = 64
_LONGEST_TITLE: Final = 1000
_LABELS_LOOKED_AT: Final = 64
_WORD: Final = re.compile(r"[^\W\d_]+")  # letters of any script: years and numbers fall out
_STOP: Final = """
a an and are as at be by for from in into is it its my of on or our s t that the their this to was we with you your
das de del den der des die du ein eine el en et im la las le les los il lo un una und une van von y
"""
_STOP_WORDS: Final = frozenset(_STOP.split())


def tokens_of(categories: Sequence[str], tags: Sequence[str], title: str | None, limit: int = TOKENS) -> list[str]:
    """The first tokens of an item, each once: a category, a tag and a word in turn, so that a hundred tags leave the title some.

    Args:
        limit: how many at most; the rest is not looked at.

    >>> tokens_of(["Horror", "Sci-Fi"], ["space"], "The Alien's Return (1979)")
    ['=horror', '=space', 'alien', '=sci-fi', 'return']
    """
    turns = zip_longest(_labels(categories), _labels(tags), words_of(title or ""))
    found = dict.fromkeys(token for turn in turns for token in turn if token)
    return list(islice(found, limit))


def text_of(token: str) -> str:
    """A token as a person reads it."""
    return token.removeprefix(LABEL)


def _labels(names: Sequence[str]) -> list[str]:
    found = (_folded(name[:_LONGEST_TOKEN]).strip() for name in islice(names, _LABELS_LOOKED_AT))
    return [LABEL + name for name in found if name]


def words_of(title: str) -> Iterable[str]:
    """The words of a title that say something, in its order: in lower case, without years, numbers and words of grammar.

    >>> list(words_of("The Alien's Return (1979)"))
    ['alien', 'return']
    """
    words = (match[0][:_LONGEST_TOKEN] for match in _WORD.finditer(_folded(title[:_LONGEST_TITLE])))
    return [word for word in words if word not in _STOP_WORDS and not (len(word) == 1 and word.isascii())]


def _folded(text: str) -> str:
    """The same for whatever looks the same: composed, lower case."""
    return unicodedata.normalize("NFKC", text).casefold()
