"""JSON answers: built as dicts by typed code, so they are encoded once and not validated again."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import Response
from pydantic_core import to_json


class Json(Response):
    """An answer of any JSON content."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """The content's bytes. Infinities and NaN become null."""
        try:
            return orjson.dumps(content)
        except orjson.JSONEncodeError:  # integers beyond 64 bits, which a catalogue or a profile may hold
            return to_json(content, inf_nan_mode="null")


class ProblemJson(Json):
    """A problem document (RFC 9457)."""

    media_type = "application/problem+json"
