"""The keys of the API: read from the settings, kept as digests, looked up by digest."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from schemas.errors import InvalidSettings
from schemas.settings import Settings
from serving.access.roles import Role

VARIABLE: Final = "FRESHET_API_KEYS"
_FORM: Final = "write KEY=ROLE,ROLE with roles out of " + ", ".join(Role)
_KEY: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # what RFC 6750 allows behind `Bearer`
_SHORTEST, _LONGEST = 16, 256
_COMMENT: Final = re.compile(r"#[^\n]*")
_BETWEEN: Final = re.compile(r"[;\s]+")


class Caller(NamedTuple):
    """Whose key it is. `bucket` names the key without telling it; `roles` is what it may do."""

    bucket: bytes
    roles: frozenset[Role]

    def may(self, role: Role) -> bool:
        """Whether the key has the role or may do everything."""
        return role in self.roles or Role.ADMIN in self.roles


class KeyRing:
    """Knows keys by their SHA-256 alone, so neither a dump of this object nor the time of a look-up tells one.

    Args:
        grants: key to its roles.
    """

    def __init__(self, grants: Mapping[str, frozenset[Role]]) -> None:
        self._callers = {digest: Caller(digest[:16], roles) for digest, roles in _digests(grants)}

    def __len__(self) -> int:
        return len(self._callers)

    def caller(self, presented: bytes) -> Caller | None:
        """Who presents this key; None: nobody that is known here."""
        return self._callers.get(hashlib.sha256(presented).digest())


def keys_of(settings: Settings) -> dict[str, frozenset[Role]] | None:
    """Every key of the environment and of the file with its roles; None: neither is set, the API is open.

    Raises:
        InvalidSettings: an entry is wrong, the file cannot be read, or there is not one key in them. It never shows a key.
    """
    texts = {}
    if settings.api_keys is not None:
        texts[VARIABLE] = settings.api_keys.get_secret_value()
    if settings.api_keys_file is not None:
        texts[f"{VARIABLE}_FILE={settings.api_keys_file}"] = _read(settings.api_keys_file)
    if not texts:
        return None
    grants: dict[str, frozenset[Role]] = {}
    for where, text in texts.items():
        _add(grants, text, where)
    if not grants:
        raise InvalidSettings(f"{' and '.join(texts)}: no key in it; {_FORM}")
    return grants


def _digests(grants: Mapping[str, frozenset[Role]]) -> Iterator[tuple[bytes, frozenset[Role]]]:
    return ((hashlib.sha256(key.encode()).digest(), roles) for key, roles in grants.items())


def _add(grants: dict[str, frozenset[Role]], text: str, where: str) -> None:
    for number, entry in enumerate(filter(None, _BETWEEN.split(_COMMENT.sub("", text))), 1):
        key, _, roles = entry.rpartition("=")
        if fault := _fault(key, roles) or ("the same key as an entry before" if key in grants else None):
            raise InvalidSettings(f"{where}: entry {number}: {fault}")
        grants[key] = frozenset(map(Role, roles.split(",")))


def _fault(key: str, roles: str) -> str | None:
    """What is wrong with an entry, told without any part of it: where it is wrong, its key may stand anywhere."""
    if not set(roles.split(",")) <= set(Role):
        return _FORM
    if not _SHORTEST <= len(key) <= _LONGEST:
        return f"a key has {_SHORTEST} to {_LONGEST} characters"
    return None if _KEY.fullmatch(key) else "a key has only letters, digits and - . _ ~ + /, and = at its end (RFC 6750)"


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidSettings(f"{VARIABLE}_FILE={path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise InvalidSettings(f"{VARIABLE}_FILE={path}: is not UTF-8 text") from None  # it holds what the file holds
