"""Items that are described alike: neighbours for what nobody has taken yet, from the moment the catalogue knows it.

Every item is a vector over tokens (`content_tokens`), TF-IDF weighted (Salton and Buckley, Term-weighting approaches in automatic
text retrieval, 1988; a title names a thing once, so the term frequency is one):

    w(t) = ln(1 + n / df(t))                                     n: items, df(t): items that have the token t
    similar(i, j) = sum over common tokens t: w(t)^2 / (|i| * |j|)                                              (cosine, 0 to 1)
    profile of a history a_0, a_1, ... (newest first): u(t) = sum over k with t in a_k: decay^k * w(t) / |a_k|
    score(j) = sum over tokens t of j: u(t) * w(t) / (|u| * |j|)

An inverted index proposes, the cosine of what it proposes is exact. Each token's items are a chain, newest first; a question
follows the chains of its `QUESTION_TOKENS` heaviest tokens for `DEPTH` items each. So it looks at 1,024 items at most, whatever the
catalogue holds and however many items share a token; what it may miss is old and shares only what is common. Counts are kept up to
date with every item that comes, changes or goes, and nothing is ever recomputed.

Memory: 196 bytes in arrays for each item and 12 for each token, beside ids and texts; at most `max_items` items (the one whose
place comes round gives way to a newcomer) and `max_tokens` tokens (beyond them unknown ones are left out of an item).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

import numpy as np

from stream_workers.models.online.content_chains import answer, ask, closest, link, new_chains, unlink, with_places, with_tokens
from stream_workers.models.online.content_tokens import TOKENS, text_of, tokens_of
from stream_workers.models.online.numeric import F32, I32

QUESTION_TOKENS: Final = 16
DEPTH: Final = 64
HISTORY: Final = 10
DECAY: Final = 0.8


class ContentSettings(NamedTuple):
    """Bounds on memory.

    Attributes:
        max_items: items that are described at most. max_tokens: different tokens.
    """

    max_items: int = 1 << 20
    max_tokens: int = 1 << 19


class ContentNeighbours:
    """What is described like what. For one thread at a time: questions share a working memory.

    Attributes:
        work: how many items the last question looked at.

    >>> content = ContentNeighbours()
    >>> content.put("1", ["Horror"], (), "Alien")
    >>> content.put("2", ["Horror"], (), "Aliens")
    >>> content.put("3", ["Comedy"], (), "Alien Love")
    >>> content.similar("1", 5)[0], content.shared("1", "2")
    (['2', '3'], ['horror'])
    """

    def __init__(self, settings: ContentSettings = ContentSettings()) -> None:  # noqa: B008 - an immutable value
        self._settings = settings
        self._place: dict[str, int] = {}
        self._ids: list[str] = []  # by place; "" where it is free
        self._free: list[int] = []
        self._hand = 0
        self._code: dict[str, int] = {}
        self._texts: list[str] = []  # by token
        self._unused: list[int] = []
        self._chains = new_chains(TOKENS)
        self.work = 0

    def __len__(self) -> int:
        return len(self._place)

    def __contains__(self, item_id: str) -> bool:
        return item_id in self._place

    def put(self, item_id: str, categories: Sequence[str] = (), tags: Sequence[str] = (), title: str | None = None) -> None:
        """Take over what the catalogue says of an item, new or not. It is then the newest of its tokens, if these are others."""
        tokens = tokens_of(categories, tags, title)
        place = self._place.get(item_id)
        if place is not None:
            if self._tokens_at(place) == tokens:
                return
            self._clear(place)
        else:
            place = self._new_place(item_id)
        codes = [code for code in map(self._coded, tokens) if code >= 0]
        self._chains.tokens[place, : len(codes)] = codes
        link(self._chains, place)

    def remove(self, item_id: str) -> None:
        """Forget an item; one that is not known is fine."""
        place = self._place.pop(item_id, None)
        if place is not None:
            self._clear(place)
            self._ids[place] = ""
            self._free.append(place)

    def similar(self, item_id: str, k: int) -> tuple[list[str], F32]:
        """The k items most like one: ids, best first, and cosines, float32[<= k]; nothing for an unknown item."""
        return self.candidates([item_id], k, (item_id,))

    def candidates(
        self, history: Sequence[str], k: int, exclude: Collection[str] = (), decay: float = DECAY
    ) -> tuple[list[str], F32]:
        """The k items most like what somebody took.

        Args:
            history: items, newest first; the first `HISTORY` that are known count.
            exclude: ids that must not come back. decay: weight ratio of successive items, 0 to 1.

        Returns:
            ids, best first, and cosines, float32[<= k].
        """
        _, places = self._known(history)
        chains, items = self._chains, len(self)
        asked = np.empty(max(1, len(places) * TOKENS), np.int32)
        asked = asked[: ask(chains, places, decay, items, asked)]
        weights = chains.profile[asked]
        heaviest = asked[np.argsort(-weights, kind="stable")[:QUESTION_TOKENS]]
        found, scores = np.empty(len(heaviest) * DEPTH, np.int32), np.empty(len(heaviest) * DEPTH, np.float32)
        self.work = answer(chains, asked, heaviest, DEPTH, items, found, scores)
        found, scores = found[: self.work], scores[: self.work]
        hidden = [self._place[item] for item in exclude if item in self._place]
        if hidden:
            chains.marks[hidden] = 1
            scores[chains.marks[found] == 1] = -1.0
            chains.marks[hidden] = 0
        best = np.argsort(-scores, kind="stable")[:k]
        best = best[scores[best] >= 0]
        return list(map(self._ids.__getitem__, found[best].tolist())), scores[best]

    def closest(self, item_id: str, history: Sequence[str], decay: float = DECAY) -> str | None:
        """The item of a history (newest first) that adds most to the score of an item; None: none does."""
        place = self._place.get(item_id)
        if place is None:
            return None
        known, places = self._known(history)
        found = closest(self._chains, place, places, decay, len(self))
        return known[found] if found >= 0 else None

    def shared(self, one: str, other: str) -> list[str]:
        """What two items have in common, as a person reads it (lower case); what says most first."""
        common = set(self.tokens(other)).intersection(self.tokens(one))
        return [text_of(token) for token in sorted(common, key=lambda token: (-self.weight(token), token))]

    def tokens(self, item_id: str) -> list[str]:
        """The tokens of an item; none for an unknown one."""
        place = self._place.get(item_id)
        return [] if place is None else self._tokens_at(place)

    def weight(self, token: str) -> float:
        """w(t); 0 for a token that no item has."""
        code = self._code.get(token)
        return 0.0 if code is None else float(np.log(1.0 + len(self) / int(self._chains.frequency[code])))

    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(array.nbytes for array in self._chains)

    def _known(self, history: Sequence[str]) -> tuple[list[str], I32]:
        """The first `HISTORY` items of a history that are described, and their places."""
        known = [item for item in history if item in self._place][:HISTORY]
        return known, np.array([self._place[item] for item in known], np.int32)

    def _tokens_at(self, place: int) -> list[str]:
        return [self._texts[code] for code in self._chains.tokens[place].tolist() if code >= 0]

    def _new_place(self, item_id: str) -> int:
        if self._free:
            place = self._free.pop()
        elif len(self._ids) < self._settings.max_items:
            place = len(self._ids)
            self._ids.append("")
            self._chains = with_places(self._chains, place + 1)
        else:
            place, self._hand = self._hand, (self._hand + 1) % len(self._ids)
            del self._place[self._ids[place]]
            self._clear(place)
        self._ids[place] = item_id
        self._place[item_id] = place
        return place

    def _clear(self, place: int) -> None:
        """Unlink a place, and give back the tokens that nobody else has."""
        codes = [code for code in self._chains.tokens[place].tolist() if code >= 0]
        unlink(self._chains, place)
        for code in codes:
            if self._chains.frequency[code] == 0:
                del self._code[self._texts[code]]
                self._texts[code] = ""
                self._unused.append(code)

    def _coded(self, token: str) -> int:
        """The code of a token, which may be new; -1: there is no room for it."""
        code = self._code.get(token)
        if code is not None:
            return code
        if self._unused:
            code = self._unused.pop()
        elif len(self._texts) < self._settings.max_tokens:
            code = len(self._texts)
            self._texts.append("")
            self._chains = with_tokens(self._chains, code + 1)
        else:
            return -1
        self._texts[code] = token
        self._code[token] = code
        return code
