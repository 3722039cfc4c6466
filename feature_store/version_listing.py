"""All published versions of all models, as the registry's folder has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from feature_store.model_versions import model_names, read_manifest, version_names
from feature_store.version_pointers import read_state
from schemas.errors import FreshetError


def listing(root: Path) -> list[dict[str, Any]]:
    """Every version below the root, models by name, oldest first; one that cannot be used says why instead of what it is."""
    return [_listed(root, model, version) for model in model_names(root) for version in version_names(root, model)]


def _listed(root: Path, model: str, version: str) -> dict[str, Any]:
    named = {"model": model, "version": version}
    try:
        state, manifest = read_state(root, model), read_manifest(root, model, version)
    except FreshetError as error:
        return {**named, "status": "broken", "problem": str(error)}
    return {
        **named,
        "status": state.status_of(version),
        "trained_until_ms": manifest.trained_on.last_ms,
        "metrics": manifest.metrics,
        "bytes": manifest.total_bytes,
        "created_ms": manifest.created_ms,
    }
