"""Compiles the kernels before the first event comes, with a stage of each kind and one made-up event."""

from __future__ import annotations

from feature_store.catalogue import Catalogue
from schemas.events import Event, EventType
from schemas.timestamps import EARLIEST_MS
from stream_workers.handlers.item_stage import ItemStage
from stream_workers.handlers.settings import ModelSettings
from stream_workers.handlers.signals import decode_signals
from stream_workers.handlers.user_batch import UserBatch
from stream_workers.handlers.user_stage import UserStage


def compile_kernels(settings: ModelSettings) -> None:
    """Run every kernel once; numba keeps the machine code on disk, so this takes seconds only the first time."""
    batch = UserBatch()
    for offset in range(2):
        batch.append(
            Event("user", f"item{offset}", EventType.CLICK, EARLIEST_MS + offset, None), "clicks", offset, EARLIEST_MS, None
        )
    users = UserStage(0, settings, Catalogue())
    users.load(users.missing(batch), [None])
    for wave in users.apply(batch, EARLIEST_MS).waves:
        for _, value in wave:
            signals = decode_signals(value)
            items = ItemStage(0, settings, {})
            items.load(missing := items.missing([signals]), [None] * len(missing))
            items.apply([signals])
            items.changes()
            items.trending({})
