"""Compiles the kernels before the first event comes, with a stage of each kind and one made-up event."""

from __future__ import annotations

from typing import Final

import numpy as np

from feature_store.catalogue import Catalogue
from schemas.events import Event, EventType
from schemas.timestamps import EARLIEST_MS
from stream_workers.handlers.interaction_merge import InteractionMerge
from stream_workers.handlers.interactions import decode_interactions
from stream_workers.handlers.item_stage import ItemStage
from stream_workers.handlers.learning_stage import LearningStage
from stream_workers.handlers.settings import ModelSettings
from stream_workers.handlers.signals import decode_signals
from stream_workers.handlers.stage_output import StageOutput
from stream_workers.handlers.user_batch import Profile, UserBatch
from stream_workers.handlers.user_stage import UserStage
from stream_workers.models.online.columns import History
from stream_workers.models.online.settings import BankSettings
from stream_workers.models.scoring_bank import ScoringBank

_EVENTS: Final = 2
NOBODY: Final = History(None, [], np.zeros(0, np.uint8), np.zeros(0, np.int64))


def compile_kernels(settings: ModelSettings) -> None:
    """Run every kernel of the user and item stages once; numba keeps the machine code on disk, so this takes long only the first
    time."""
    for wave in _applied(settings).waves:
        for _, value in wave:
            signals = decode_signals(value)
            items = ItemStage(0, settings, {})
            items.load(missing := items.missing([signals]), [None] * len(missing))
            items.apply([signals])
            items.changes()
            items.trending({})


def compile_models(numbers: BankSettings) -> None:
    """Run every kernel of the models once; the first time this takes minutes, see `compiling`."""
    bank = ScoringBank(numbers)
    merge, stage = InteractionMerge(range(1), {}), LearningStage(bank, 1.0, numbers.repeats)
    for offset, value in enumerate(_applied(ModelSettings(partitions=1)).interactions):
        merge.add(0, offset, decode_interactions(value))
    while (merged := merge.take(_EVENTS)) is not None:
        stage.apply(merged)
    bank.recommend(NOBODY, EARLIEST_MS, 1)  # what only the API asks: it must not compile while people wait
    bank.warm_up()


def _applied(settings: ModelSettings) -> StageOutput:
    """What a user stage makes of two events of a user who is forgotten afterwards."""
    batch = UserBatch(profiles=[Profile("user", None, EARLIEST_MS)])
    for offset in range(_EVENTS):
        batch.append(
            Event("user", f"item{offset}", EventType.CLICK, EARLIEST_MS + offset, None), "clicks", offset, EARLIEST_MS, None
        )
    users = UserStage(0, settings, Catalogue())
    users.load(users.missing(batch), [None])
    return users.apply(batch, EARLIEST_MS)
