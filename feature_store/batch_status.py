"""How the periodic batch runs ended: one small file in the folder of the models, written by the run, read by the API's metrics."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

STATUS: Final = "batch-run.json"


class BatchStatus(BaseModel):
    """The last run and the last good one, ms.

    Attributes:
        failures: runs that failed since the folder is there. failure: why the last run failed; None: it did not.
    """

    model_config = ConfigDict(frozen=True)

    ended_at: int | None = None
    succeeded_at: int | None = None
    failures: int = 0
    failure: str | None = None


def read_status(root: Path | None) -> BatchStatus:
    """What the last run wrote; nothing where there was none or it cannot be read."""
    if root is None:
        return BatchStatus()
    try:
        return BatchStatus.model_validate_json((root / STATUS).read_bytes())
    except (OSError, ValidationError):
        return BatchStatus()


def note_run(root: Path, now_ms: int, failure: str | None) -> None:
    """Replace the file; without the room for it the last one stays, and its age tells."""
    before = read_status(root)
    now = BatchStatus(
        ended_at=now_ms,
        succeeded_at=before.succeeded_at if failure else now_ms,
        failures=before.failures + bool(failure),
        failure=failure,
    )
    draft = (root / STATUS).with_suffix(f".{os.getpid()}")
    try:
        draft.write_text(now.model_dump_json())
        draft.replace(root / STATUS)
    except OSError:
        draft.unlink(missing_ok=True)
