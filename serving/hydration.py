"""What a request reads from the store: people and the neighbours of items, all of one kind in one round trip."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from feature_store.item_blob import Neighbours, unpack_neighbours
from feature_store.keys import item_key, session_key, user_key
from feature_store.packing import CorruptBlob
from feature_store.session_blob import session_of
from feature_store.user_blob import unpack_user
from schemas.ids import partition_of
from serving.blended import Publishes
from serving.reads import Reads
from serving.sessions import UNKNOWN, Known
from serving.trending_lists import TrendingLists

log = logging.getLogger(__name__)


class Hydration:
    """Decodes what the workers wrote; what is missing or damaged is as if nothing were known.

    Args:
        lists: knows into how many partitions the store is laid out.
        published: says whether a session model's state is of any use.
    """

    def __init__(self, lists: TrendingLists, published: Publishes) -> None:
        self._lists = lists
        self._published = published

    async def people(self, user_ids: Sequence[str], reads: Reads) -> list[Known]:
        """What the store knows of each of them, one round trip for all; none for nobody."""
        wanted = (user_key, session_key) if self._published.current.recurrent else (user_key,)
        partitions = self._lists.partitions
        places = [(partition_of(user_id, partitions), user_id) for user_id in user_ids]
        blobs = await reads.blobs([key(*place) for place in places for key in wanted])
        own = (blobs[start : start + len(wanted)] for start in range(0, len(blobs), len(wanted)))
        return [_known(user_id, *blobs) for user_id, blobs in zip(user_ids, own, strict=True)]

    async def neighbours(self, items: Sequence[str], reads: Reads) -> list[tuple[str, Neighbours]]:
        """Those of the items that have neighbours in the store, with them."""
        partitions = self._lists.partitions
        blobs = await reads.blobs([item_key(partition_of(item, partitions), item) for item in items])
        found = []
        for item, blob in zip(items, blobs, strict=True):
            if blob is None:
                continue
            try:
                found.append((item, unpack_neighbours(blob)))
            except CorruptBlob as error:
                log.warning("state of item %r: %s", item, error)
        return found


def _known(user_id: str, blob: bytes | None, session: bytes | None = None) -> Known:
    if blob is None:
        return UNKNOWN
    try:
        return Known(unpack_user(blob), session_of(blob, session))
    except CorruptBlob as error:
        log.warning("state of a user: %s", error)
        log.debug("it is user %r", user_id)
        return UNKNOWN
