"""Ids as parts of paths: any text, slashes and line ends included, so that it is the id's own check that refuses a wrong one."""

from __future__ import annotations

from starlette.convertors import Convertor, register_url_convertor


class AnyText(Convertor[str]):
    """`{name:any}` in the path of a route. (Starlette's `path` stops at a line end.)"""

    regex = r"[\s\S]*"

    def convert(self, value: str) -> str:
        """The text itself."""
        return value

    def to_string(self, value: str) -> str:
        """The text itself."""
        return value


register_url_convertor("any", AnyText())
