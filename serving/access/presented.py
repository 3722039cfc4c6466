"""What a request says of who sends it: its key, its address."""

from __future__ import annotations

import hashlib
import ipaddress
from typing import Final

from starlette.types import Scope

_SCHEME: Final = b"bearer"
_NETWORK_V6: Final = 64  # one customer's share of IPv6: single addresses are free to change within it


def presented_key(scope: Scope) -> bytes | None:
    """The key of `Authorization: Bearer KEY` (RFC 6750, section 2.1); None: there is not exactly one such header."""
    values = [value for name, value in scope["headers"] if name == b"authorization"]
    if len(values) != 1:
        return None
    scheme, _, key = values[0].partition(b" ")
    if scheme.lower() != _SCHEME:
        return None
    return key.strip(b" ") or None


def address_bucket(scope: Scope) -> bytes:
    """Names where a request comes from without telling it: a digest of the IPv4 address, or of the IPv6 network (/64)."""
    client = scope.get("client")
    host = client[0] if client else ""
    return hashlib.sha256(_network(host).encode(errors="surrogateescape")).digest()[:16]


def _network(host: str) -> str:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:  # a name that a proxy or a test gave
        return host
    if address.version == 6 and address.ipv4_mapped is None:
        return str(ipaddress.ip_network((address.packed, _NETWORK_V6), strict=False))
    return str(address if address.version == 4 else address.ipv4_mapped)
