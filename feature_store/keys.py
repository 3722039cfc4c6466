"""Names of everything in the store.

The number in braces is a Redis hash tag: all keys of one partition live in one cluster slot, so one MULTI can write them together.
User keys carry the partition of the user id, item keys the partition of the item id.
"""

from __future__ import annotations

from typing import Final

LAYOUT: Final = b"freshet:layout"
SALT: Final = b"freshet:salt"  # key of the hashes under which forgotten users are remembered
WORKER_PREFIX: Final = b"worker:"
MODEL_PREFIX: Final = b"m:{learner}"
MODEL_INDEX: Final = MODEL_PREFIX + b"index"
JUDGE_ARRAYS: Final = "judge."  # names of arrays that only the learner needs begin with this
USER_IDS: Final = "users.text"  # name of the array of users' ids, only ever longer: other changes take somebody out
SCOREBOARD: Final = b"scoreboard:{learner}"
_DECISIONS: Final = b"d:{decisions}"
DECISION_ORDER: Final = _DECISIONS + b":order"  # sorted set: records by the time they were added
DECISION_SIZES: Final = _DECISIONS + b":sizes"  # hash: record to its bytes and its person's set
DECISION_BYTES: Final = _DECISIONS + b":bytes"


def user_key(partition: int, user_id: str) -> bytes:
    """State of a user: history, counts, affinities.

    >>> user_key(3, "42")
    b'u:{3}42'
    """
    return b"u:{%d}%s" % (partition, user_id.encode())


def damaged_user_key(partition: int, user_id: str) -> bytes:
    """Where a state that could not be read was put aside."""
    return b"damaged:" + user_key(partition, user_id)


def profile_key(partition: int, user_id: str) -> bytes:
    """Profile of a user, as the `users` topic gave it."""
    return b"p:{%d}%s" % (partition, user_id.encode())


def session_key(partition: int, user_id: str) -> bytes:
    """State of the session model for a user.

    >>> session_key(3, "42")
    b's:{3}42'
    """
    return b"s:{%d}%s" % (partition, user_id.encode())


def forgotten_key(partition: int) -> bytes:
    """Hashes of the users of one partition who were forgotten, see `forgotten_blob`.

    >>> forgotten_key(3)
    b'f:{3}'
    """
    return b"f:{%d}" % partition


def item_key(partition: int, item_id: str) -> bytes:
    """State of an item: counts, popularity, co-visited items."""
    return b"i:{%d}%s" % (partition, item_id.encode())


def trending_key(partition: int) -> bytes:
    """The most popular items of one item partition."""
    return b"t:{%d}" % partition


def category_trending_key(partition: int, category: str) -> bytes:
    """The most popular items of one category in one item partition."""
    return b"c:{%d}%s" % (partition, category.encode())


def user_watermarks_key(partition: int) -> bytes:
    """Offsets applied by the user stage: `views`, `clicks`, `feedback`, `users`."""
    return b"wu:{%d}" % partition


def item_watermarks_key(partition: int) -> bytes:
    """Offsets applied by the item stage: its own topics, and per source partition of the user stage."""
    return b"wi:{%d}" % partition


def model_page_key(array: str, page: int) -> bytes:
    """One page of one array of the online models.

    >>> model_page_key("bpr.items", 7)
    b'm:{learner}bpr.items:7'
    """
    return b"%s%s:%d" % (MODEL_PREFIX, array.encode(), page)


def model_delta_key(commit: int) -> bytes:
    """What one commit changed in the online models' arrays, as far as it wrote no pages.

    >>> model_delta_key(12)
    b'm:{learner}delta@12'
    """
    return b"%sdelta@%d" % (MODEL_PREFIX, commit)


def learner_watermarks_key() -> bytes:
    """Offsets learnt: per partition of `interactions` and `items`, and per source partition of the user stage."""
    return b"wl:{learner}"


def worker_key(worker_id: str) -> bytes:
    """Heartbeat of one worker (JSON, expires)."""
    return WORKER_PREFIX + worker_id.encode()


def decision_key(request_id: str) -> bytes:
    """What a request decided.

    >>> decision_key("01KDWCJ2QR0000000000000000")
    b'd:{decisions}:r:01KDWCJ2QR0000000000000000'
    """
    return b"%s:r:%s" % (_DECISIONS, request_id.encode())


def decisions_of_key(user_id: str) -> bytes:
    """Which decisions are about somebody (set of keys)."""
    return b"%s:u:%s" % (_DECISIONS, user_id.encode())
