"""No log line from `info` up names a person, a list of items or a key."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("serving", "stream_workers", "feature_store")
LEVELS = {"info", "warning", "error", "exception", "critical"}
PERSONAL = re.compile(r"\b(user|user_id|users|viewer|history|items|recent_items|api_keys?|authorization|headers|body|url|query)\b")


def personal_arguments(text: str) -> Iterator[str]:
    """What log calls of a module put into their lines that is, or may hold, something of a person."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LEVELS:
            if ast.unparse(node.func.value) not in {"log", "self._log", "logging", "logger"}:
                continue
            said = [value for value in node.args[:1] if not isinstance(value, ast.Constant)]  # an f-string, a variable
            yield from (part for value in [*said, *node.args[1:]] if PERSONAL.search(part := ast.unparse(value)))


def test_no_log_line_tells_of_a_person() -> None:
    paths = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    found = {(str(path.relative_to(ROOT)), part) for path in paths for part in personal_arguments(path.read_text("utf-8"))}
    assert sorted(found) == []
    assert len(paths) > 50


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('log.warning("state of %r", user_id)', ["user_id"]),
        ('log.info(f"of {event.user_id}")', ["f'of {event.user_id}'"]),
        ('log.error("%s %s", request.method, request.url.path)', ["request.url.path"]),
        ('log.exception("%s", query.recent_items)', ["query.recent_items"]),
        ('log.debug("%s", user_id)', []),
        ('log.info("a user did %d things", count)', []),
    ],
)
def test_the_checker_sees_what_tells_of_a_person(line: str, told: list[str]) -> None:
    assert list(personal_arguments(line)) == told
