"""What the parts of a surfaces file are made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Weight = Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)]
Keys = tuple[str | int, ...]
"""Where something stands: the names, or numbers, on the way to it."""
Name = Annotated[str, Field(min_length=1, max_length=100)]


class Part(BaseModel):
    """A part of a surface: unchanging, without unknown names."""

    model_config = ConfigDict(frozen=True, extra="forbid")
