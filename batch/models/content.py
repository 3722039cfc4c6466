"""What the catalogue says of each item, as numbers that an item tower can take: words, labels, year."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import keras
import numpy as np
from numpy.typing import NDArray

from batch.datasets.interactions import Catalogue

I32 = NDArray[np.int32]

_OLDEST_YEAR: Final = 1900
_YEARS_A_BUCKET: Final = 5
YEAR_BUCKETS: Final = 32
_BESIDE_WORDS: Final = 2  # of Keras' vocabulary: nothing, and a word that is not in it


class Content(NamedTuple):
    """Rows of numbers for P items; 0 fills up and stands for "nothing".

    Attributes:
        words: int32[P, W], words of the title. labels: int32[P, C], categories and tags. years: int32[P], 1 + bucket of 5 years.
        word_names: the words by number. label_names: the labels by number; both begin with "" for 0.
    """

    words: I32
    labels: I32
    years: I32
    word_names: tuple[str, ...]
    label_names: tuple[str, ...]


def content_of(catalogue: Catalogue, *, most_words: int = 8, most_labels: int = 16, vocabulary: int = 20_000) -> Content:
    """The catalogue as numbers. A word or label of one item alone is left out: it says no more than the id does."""
    words, word_names = title_words(catalogue.titles, most_words, vocabulary)
    labelled = [_labels(categories, tags) for categories, tags in zip(catalogue.categories, catalogue.tags, strict=True)]
    labels, label_names = numbered(labelled, most_labels, vocabulary)
    return Content(words, labels, year_buckets(catalogue.years), word_names, label_names)


def title_words(titles: Sequence[str], most: int, vocabulary: int) -> tuple[I32, tuple[str, ...]]:
    """Titles through Keras' `TextVectorization`: (int32[P, most], the words by number).

    Case and punctuation fall away. Words of one title alone and words beyond the vocabulary become 0.

    >>> rows, names = title_words(["Alien", "Alien 3", "Casper"], 2, 100)
    >>> [[names[word] for word in row] for row in rows]
    [['alien', ''], ['alien', ''], ['', '']]
    """
    layer = keras.layers.TextVectorization(max_tokens=vocabulary, output_sequence_length=most)
    texts = np.array([title or " " for title in titles], dtype=object)
    layer.adapt(texts)
    if len(layer.get_vocabulary()) <= _BESIDE_WORDS:  # Keras has no table to look nothing up in
        return np.zeros((len(titles), most), np.int32), ("",)
    found = np.asarray(layer(texts), np.int32)
    names = np.array(layer.get_vocabulary())
    known = np.unique(found[found > 1])
    items = Counter(int(word) for row in found for word in set(row[row > 1].tolist()))
    kept = np.array([word for word in known if items[int(word)] > 1], np.int32)
    number = np.zeros(len(names), np.int32)
    number[kept] = 1 + np.arange(len(kept))
    return number[found], ("", *names[kept].tolist())


def _labels(categories: Iterable[str], tags: Iterable[str]) -> list[str]:
    """Categories and tags side by side; a category is not the tag of the same name."""
    return list(dict.fromkeys([*(f"category:{name}" for name in categories), *(f"tag:{name}" for name in tags)]))


def numbered(labelled: Sequence[Sequence[str]], most: int, vocabulary: int) -> tuple[I32, tuple[str, ...]]:
    """Labels as numbers, the most frequent first: (int32[n, most], the labels by number, "" for 0).

    >>> numbered([["a", "b"], ["b", "c"], ["b", "a"]], 2, 10)[0].tolist()
    [[2, 1], [1, 0], [1, 2]]
    """
    counts = Counter(label for labels in labelled for label in labels)
    names = ("", *(label for label, count in counts.most_common(vocabulary) if count > 1))
    number = {name: at for at, name in enumerate(names) if at}
    rows = np.zeros((len(labelled), most), np.int32)
    for row, labels in zip(rows, labelled, strict=True):
        found = [number[label] for label in labels if label in number][:most]
        row[: len(found)] = found
    return rows, names


def year_buckets(years: NDArray[np.float32]) -> I32:
    """1 + the bucket of five years since 1900, 0 where the year is unknown.

    >>> year_buckets(np.array([1999, np.nan, 1850, 2004], np.float32)).tolist()
    [20, 0, 1, 21]
    """
    bucket = np.clip((np.nan_to_num(years) - _OLDEST_YEAR) // _YEARS_A_BUCKET, 0, YEAR_BUCKETS - 2)
    return np.where(np.isnan(years), 0, 1 + bucket).astype(np.int32)


def mean_of_known(layer: Any, rows: Any) -> Any:
    """The mean of the embeddings of each row's numbers that are not 0; zeros where a row has none: [n, k] -> [n, d]."""
    known = keras.ops.cast(rows != 0, "float32")[..., None]
    total = keras.ops.sum(layer(rows) * known, axis=-2)
    return total / keras.ops.maximum(keras.ops.sum(known, axis=-2), 1.0)
