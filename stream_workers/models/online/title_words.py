"""Words that the title of a candidate shares with what somebody took: sequels, series, remakes, until anybody has taken both.

overlap(j) = sum over words w of j: n_w / sqrt(df(w)),  n_w: how many of the last `RECENT` items have w;  df(w): items that have it.

Words are kept as hashes, so that memory is bounded whatever titles say; two words of one hash are one word. Common words fade with
the square root, faster than with the logarithm of TF-IDF (see `content`): sharing a rare word is what tells.
"""

from __future__ import annotations

from itertools import islice
from typing import Final
from zlib import crc32

import numpy as np

from stream_workers.models.online.content_tokens import TOKENS, words_of
from stream_workers.models.online.numeric import F32, I32, kernel

HASHES: Final = 1 << 15
WORDS: Final = 8  # of one item
RECENT: Final = 10  # items of a history
_LEAST_LETTERS: Final = 4


def word_hashes(title: str | None) -> list[int]:
    """Hashes, below `HASHES`, of the first `WORDS` words of four letters and more, each once.

    >>> len(word_hashes("The Return of the Return: Alien (1979)")), word_hashes("RETURN") == word_hashes("Return of IV")
    (2, True)
    """
    words = (word for word in islice(dict.fromkeys(words_of(title or "")), TOKENS) if len(word) >= _LEAST_LETTERS)
    return list(dict.fromkeys(crc32(word.encode("utf-8", "surrogatepass")) % HASHES for word in words))[:WORDS]


@kernel
def title_overlap(words: I32, items_with: I32, history: I32, pool: I32, shares: F32, out: F32) -> None:
    """Set out: float32[P] to the overlap of each candidate.

    Args:
        words: int32[I, WORDS], hashes, -1 behind the last. items_with: int32[HASHES], df. history: int32[n], newest first.
        pool: int32[P]. shares: float32[HASHES], zeros between calls.
    """
    recent = history[:RECENT]
    for item in recent:
        for word in words[item]:
            if word >= 0:
                shares[word] += np.float32(1.0 / np.sqrt(max(1, items_with[word])))
    for p in range(pool.shape[0]):
        total = np.float32(0.0)
        for word in words[pool[p]]:
            if word >= 0:
                total += shares[word]
        out[p] = total
    for item in recent:
        for word in words[item]:
            if word >= 0:
                shares[word] = np.float32(0.0)


def count_words(words: I32, items_with: I32) -> None:
    """Set items_with: int32[HASHES] to how many rows of words: int32[I, WORDS] have each word."""
    items_with[:] = np.bincount(words[words >= 0], minlength=HASHES)


def replace_words(words: I32, items_with: I32, item: int, hashes: I32) -> None:
    """Give an item other words, int32[WORDS]; arrays as of `title_overlap`."""
    before = words[item]
    items_with[before[before >= 0]] -= 1
    words[item] = hashes
    items_with[hashes[hashes >= 0]] += 1
