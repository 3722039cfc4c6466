"""Why a way to get servers cannot be used."""

from schemas.errors import StackError


class MissingError(StackError):
    """Something that one way of starting servers needs is not there; the message says what."""
