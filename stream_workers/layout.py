"""The one fact about the store that every process must agree on: how many partitions its keys were written for."""

from __future__ import annotations

from typing import Final

from feature_store.keys import LAYOUT
from feature_store.port import FeatureStore
from schemas.errors import LayoutMismatch
from schemas.settings import Settings

FORMAT: Final = 1


async def check_layout(store: FeatureStore, settings: Settings) -> None:
    """The store was written with this partition count, or never.

    Raises:
        LayoutMismatch: it was written with another one.
        StoreUnavailable: Redis does not answer.
    """
    wanted = b'{"partitions":%d,"format":%d}' % (settings.partitions, FORMAT)
    stored = await store.put_if_absent(LAYOUT, wanted)
    if stored != wanted:
        raise LayoutMismatch(
            f"the feature store was written with {stored.decode(errors='replace')}, these settings mean {wanted.decode()}; "
            "use the old partition count, or flush the store and let the log rebuild it"
        )
