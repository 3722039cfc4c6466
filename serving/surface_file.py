"""The surfaces file (YAML) as `Surfaces`, or every fault of it with its line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml
from pydantic import ValidationError

from schemas.errors import InvalidSettings
from serving.surface_parts import Keys
from serving.surfaces import Surfaces

MAX_CHARACTERS: Final = 64 * 1024
_MAX_NODES: Final = 20_000  # with those that aliases repeat
_MAX_DEPTH: Final = 20
_TAG: Final = "tag:yaml.org,2002:"
_CONVERTED: Final = frozenset({"int", "float", "bool", "null"})
_TAGS: Final = _CONVERTED | {"map", "seq", "str", "timestamp"}
_NOT_KNOWN: Final = "extra_forbidden"
_KEY: Final = "[key]"  # what pydantic adds where the name is wrong and not the value
Check = Callable[[Surfaces], Iterable[tuple[Keys, str]]]


class Fault(NamedTuple):
    """What is wrong, on which line (from 1), under which names of the file ("surfaces.home.filter"; empty: the file itself)."""

    line: int
    where: str
    message: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.where + ': ' if self.where else ''}{self.message}"


class InvalidSurfaces(InvalidSettings):
    """A surfaces file that cannot be used.

    Args:
        faults: at least one, by line.
    """

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("; ".join(map(str, faults)))
        self.faults = faults


def read_surfaces(path: Path, check: Check = Surfaces.faults) -> Surfaces:
    """The surfaces of a file.

    Args:
        check: see `parse_surfaces`.

    Raises:
        InvalidSurfaces: every fault that was found, with its line.
        InvalidSettings: the file cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSettings(f"the surfaces file cannot be read: {error}") from error
    return parse_surfaces(text, check)


def parse_surfaces(text: str, check: Check = Surfaces.faults) -> Surfaces:
    """The surfaces that a YAML text describes. Nothing but plain YAML is read: no tags, no objects; its size is bounded.

    Args:
        check: what else is wrong with it, and under which names.

    Raises:
        InvalidSurfaces: every fault that was found, with its line.

    >>> parse_surfaces("surfaces: {home: {diversity: {default: 0.3}}}").surfaces["home"].diversity.default
    0.3
    """
    if len(text) > MAX_CHARACTERS:
        raise InvalidSurfaces([Fault(1, "", f"{len(text)} characters; at most {MAX_CHARACTERS} are taken")])
    reading = _Reading(text)
    content = reading.content()
    try:
        found = Surfaces.model_validate(content)
    except ValidationError as error:
        raise InvalidSurfaces(sorted(reading.faults(error))) from error
    faults = sorted(reading.fault(where, message) for where, message in check(found))
    if faults:
        raise InvalidSurfaces(faults)
    return found


class _Reading:
    """One text on its way: its values, and where they stand."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._lines: dict[Keys, int] = {(): 1}
        self._nodes = 0

    def content(self) -> Any:
        """The whole as dicts, lists and scalars."""
        try:
            loader = yaml.SafeLoader(self._text)
            root = loader.get_single_node()
            return {} if root is None else self._value(loader, root, ())
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            problem = ", ".join(filter(None, (error.context, error.problem)))
            raise InvalidSurfaces([Fault(mark.line + 1 if mark else 1, "", f"not YAML: {problem}")]) from error
        except yaml.reader.ReaderError as error:
            line = self._text.count("\n", 0, int(error.position)) + 1
            raise InvalidSurfaces([Fault(line, "", f"not YAML: {error.reason}")]) from error
        except (RecursionError, ValueError) as error:  # brackets by the thousand; a number that is none
            raise InvalidSurfaces([Fault(1, "", f"not YAML: {type(error).__name__}: {error}")]) from error

    def faults(self, error: ValidationError) -> Iterator[Fault]:
        """What pydantic found, with lines."""
        for fault in error.errors(include_url=False, include_context=False):
            message = "is not known here" if fault["type"] == _NOT_KNOWN else fault["msg"].removeprefix("Value error, ")
            yield self.fault(tuple(part for part in fault["loc"] if part != _KEY), message)

    def fault(self, where: Keys, message: str) -> Fault:
        """A fault with the line of the innermost name that the text has."""
        known = next(where[:end] for end in range(len(where), -1, -1) if where[:end] in self._lines)
        return Fault(self._lines[known], ".".join(map(str, where)), message)

    def _value(self, loader: Any, node: Any, path: Keys) -> Any:
        self._nodes += 1
        if self._nodes > _MAX_NODES or len(path) > _MAX_DEPTH:
            raise self._refusal(node, path, f"more than {_MAX_NODES} values, or deeper than {_MAX_DEPTH}")
        if node.tag.removeprefix(_TAG) not in _TAGS:
            raise self._refusal(node, path, f"the tag {node.tag} is not taken")
        self._lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.SequenceNode):
            return [self._value(loader, part, (*path, at)) for at, part in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode):
            return self._mapping(loader, node, path)
        return loader.construct_object(node) if node.tag.removeprefix(_TAG) in _CONVERTED else node.value

    def _mapping(self, loader: Any, node: Any, path: Keys) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise self._refusal(key, path, "a name must be a text")
            inner = (*path, key.value)
            if key.value in found:
                raise self._refusal(key, inner, "stands there twice")
            self._lines[inner] = key.start_mark.line + 1
            found[key.value] = self._value(loader, value, inner)
        return found

    def _refusal(self, node: Any, path: Keys, message: str) -> InvalidSurfaces:
        return InvalidSurfaces([Fault(node.start_mark.line + 1, ".".join(map(str, path)), message)])
