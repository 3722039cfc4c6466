"""Small models to publish, and what is told of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from batch.registry.pointers import Note, promote, record_gate
from batch.registry.publish import publish
from feature_store.version_manifest import ARRAYS, Facts, TrainedOn
from feature_store.version_pointers import GateRecord
from stream_workers.models.deep.item_weights import ItemWeights

MODEL = "ease"
NOON = 1_795_435_200_000  # 2026-11-23 12:00 UTC
NOTE = Note(NOON, "ann", "because")
ITEMS = ("7", "alien³", "", "a b\n", "電影", "x" * 300)
USERS = ("ann", "bob", "çem")


def scorer(seed: int = 1, items: int = len(ITEMS)) -> ItemWeights:
    """Random weights between all items."""
    weights = np.random.default_rng(seed).normal(size=(items, items)).astype(np.float32)
    return ItemWeights(weights, np.arange(items), items)


def facts(**others: Any) -> Facts:
    """What a training could tell; `others` instead of the defaults."""
    told: dict[str, Any] = {
        "trained_on": TrainedOn(first_ms=NOON - 86_400_000, last_ms=NOON - 1000, events=900, users=len(USERS), items=len(ITEMS)),
        "offsets": {"views:0": 41, "views:1": 7},
        "metrics": {"recall@10": 0.25, "ndcg@10": 0.125},
        "segments": {"new_users": {"recall@10": 0.2}},
        "code_version": "8499914",
        "seed": 7,
        "training_seconds": 1.5,
        "created_ms": NOON,
    }
    return Facts(**told | others)


def published(root: Path, seed: int = 1, model: str = MODEL, **others: Any) -> str:
    """Publish a model; `seed` makes another one, a second later for each."""
    made = facts(**{"created_ms": NOON + 1000 * seed, "seed": seed} | others)
    return publish(root, model, scorer(seed), ITEMS, USERS, made)


def forced(root: Path, *names: str) -> None:
    """Promote one after the other, whatever the gate said."""
    for name in names:
        promote(root, MODEL, name, NOTE, force=True)


def passed(root: Path, version: str, against: str | None, promote: bool = True) -> None:
    """The gate says yes, or no."""
    record_gate(root, MODEL, version, GateRecord(at_ms=NOON, against=against, promote=promote, reasons=("It says so.",)))


def damage(root: Path, version: str) -> None:
    """Flip the last bit of the arrays."""
    damage_of(root, MODEL, version)


def damage_of(root: Path, model: str, version: str) -> None:
    path = root / model / version / ARRAYS
    content = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(content[:-1] + bytes((content[-1] ^ 1,)))
