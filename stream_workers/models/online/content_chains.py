"""Which items have a token, as chains through fixed-width rows: an inverted index without lists; see `content`.

An item's row holds its tokens and, for each of them, links to the next older and the next newer item with the same token. Adding
and removing an item touches its own tokens' neighbours only; memory is the rows, whatever the tokens.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from stream_workers.models.online.numeric import F32, I32, kernel

_START: Final = 1024


class Chains(NamedTuple):
    """I places with T tokens each, V tokens. A link is place * T + position; -1: none.

    Attributes:
        tokens: int32[I, T], -1 behind the last. older, newer: int32[I, T], the next item with the same token either way.
        newest: int32[V], where the chain of a token begins. frequency: int32[V], df. marks: int32[I], zeros between questions.
        profile: float32[V], zeros between questions.
    """

    tokens: I32
    older: I32
    newer: I32
    newest: I32
    frequency: I32
    marks: I32
    profile: F32


@kernel
def link(chains: Chains, place: int) -> None:
    """Put a place at the head of the chains of its tokens."""
    width = chains.tokens.shape[1]
    for t in range(width):
        token = chains.tokens[place, t]
        if token < 0:
            return
        head = chains.newest[token]
        chains.older[place, t] = head
        chains.newer[place, t] = -1
        if head >= 0:
            chains.newer[head // width, head % width] = place * width + t
        chains.newest[token] = place * width + t
        chains.frequency[token] += 1


@kernel
def unlink(chains: Chains, place: int) -> None:
    """Take a place out of all chains."""
    width = chains.tokens.shape[1]
    for t in range(width):
        token = chains.tokens[place, t]
        if token < 0:
            return
        older, newer = chains.older[place, t], chains.newer[place, t]
        if older >= 0:
            chains.newer[older // width, older % width] = newer
        if newer >= 0:
            chains.older[newer // width, newer % width] = older
        else:
            chains.newest[token] = older
        chains.frequency[token] -= 1
        chains.tokens[place, t] = -1


@kernel
def weight(chains: Chains, token: int, items: int) -> float:
    """w(t)."""
    return float(np.log(1.0 + items / max(1, chains.frequency[token])))


@kernel
def norm(chains: Chains, place: int, items: int) -> float:
    """|i|; 0 for an item without tokens."""
    total = 0.0
    for t in range(chains.tokens.shape[1]):
        if chains.tokens[place, t] < 0:
            break
        total += weight(chains, chains.tokens[place, t], items) ** 2
    return float(np.sqrt(total))


@kernel
def ask(chains: Chains, history: I32, decay: float, items: int, asked: I32) -> int:
    """Fill `chains.profile` from the history's places and list its tokens in `asked`; returns how many they are."""
    found = 0
    fade = 1.0
    for place in history:
        length = norm(chains, place, items)
        for t in range(chains.tokens.shape[1]):
            token = chains.tokens[place, t]
            if token < 0:
                break
            if chains.profile[token] == 0:
                asked[found] = token
                found += 1
            chains.profile[token] += np.float32(fade * weight(chains, token, items) / length)
        fade *= decay
    return found


@kernel
def answer(chains: Chains, asked: I32, heaviest: I32, depth: int, items: int, places: I32, scores: F32) -> int:
    """Follow the chains of the heaviest tokens and work out the cosine of every item there; returns how many they are.

    Args:
        asked: int32[A], all tokens of the profile. heaviest: int32[Q], those to follow.
        places, scores: int32[Q * depth] and float32[Q * depth], filled.
    """
    found = 0
    width = chains.tokens.shape[1]
    for token in heaviest:
        link = chains.newest[token]
        for _ in range(depth):
            if link < 0:
                break
            place = link // width
            if chains.marks[place] == 0:
                chains.marks[place] = 1
                places[found] = place
                found += 1
            link = chains.older[place, link % width]
    length = 0.0
    for token in asked:
        length += chains.profile[token] ** 2
    for k in range(found):
        dot = squares = 0.0
        for t in range(width):
            token = chains.tokens[places[k], t]
            if token < 0:
                break
            w = weight(chains, token, items)
            dot += chains.profile[token] * w
            squares += w * w
        scores[k] = dot / np.sqrt(length * squares)
        chains.marks[places[k]] = 0
    for token in asked:
        chains.profile[token] = 0.0
    return found


@kernel
def closest(chains: Chains, place: int, history: I32, decay: float, items: int) -> int:
    """Which place of the history adds most to the score of `place`: an index into it, -1 where none shares a token with it."""
    width = chains.tokens.shape[1]
    best, chosen, fade = 0.0, -1, 1.0
    for h in range(history.shape[0]):
        common = 0.0
        for t in range(width):
            token = chains.tokens[history[h], t]
            if token < 0:
                break
            for mine in range(width):
                if chains.tokens[place, mine] == token:
                    common += weight(chains, token, items) ** 2
        if common > 0:
            part = fade * common / norm(chains, history[h], items)
            if part > best:
                best, chosen = part, h
        fade *= decay
    return chosen


def new_chains(width: int) -> Chains:
    """No item and no token yet; `width` tokens an item."""
    nowhere = np.full((_START, width), -1, np.int32)
    return Chains(
        nowhere, nowhere.copy(), nowhere.copy(), np.full(_START, -1, np.int32), np.zeros(_START, np.int32),
        np.zeros(_START, np.int32), np.zeros(_START, np.float32),
    )  # fmt: skip


def with_places(chains: Chains, needed: int) -> Chains:
    """Room for as many places."""
    if needed <= len(chains.tokens):
        return chains
    return chains._replace(
        tokens=_doubled(chains.tokens, -1), older=_doubled(chains.older, -1), newer=_doubled(chains.newer, -1),
        marks=_doubled(chains.marks, 0),
    )  # fmt: skip


def with_tokens(chains: Chains, needed: int) -> Chains:
    """Room for as many tokens; not while a question is under way."""
    if needed <= len(chains.newest):
        return chains
    profile: F32 = np.zeros(2 * len(chains.profile), np.float32)
    return chains._replace(newest=_doubled(chains.newest, -1), frequency=_doubled(chains.frequency, 0), profile=profile)


def _doubled(array: I32, rest: int) -> I32:
    return np.concatenate((array, np.full_like(array, rest)))
