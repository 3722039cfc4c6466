"""Headers of every answer that keep browsers and caches from doing what nobody asked for."""

from __future__ import annotations

from typing import Final

Headers = tuple[tuple[bytes, bytes], ...]

# The pages of /docs and /redoc are made by FastAPI: an inline script, and files from where it says they are.
_PAGES: Final = (
    b"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; connect-src 'self'; worker-src blob:; "
    b"script-src 'unsafe-inline' https://cdn.jsdelivr.net; "
    b"style-src 'unsafe-inline' https://cdn.jsdelivr.net https://fonts.googleapis.com; "
    b"font-src https://fonts.gstatic.com; img-src 'self' data: https://fastapi.tiangolo.com https://cdn.redoc.ly"
)
_PAGE_PATHS: Final = frozenset({"/docs", "/docs/oauth2-redirect", "/redoc"})
_NOTHING: Final = b"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

_COMMON: Final[Headers] = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),  # addresses of this API hold user ids
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),  # lists change with every click, and most are one person's
)
_ANSWER: Final[Headers] = (*_COMMON, (b"content-security-policy", _NOTHING))
_PAGE: Final[Headers] = (*_COMMON, (b"content-security-policy", _PAGES))


def security_headers(path: str) -> Headers:
    """The headers of an answer at that path."""
    return _PAGE if path in _PAGE_PATHS else _ANSWER


def security_headers_as_text() -> dict[str, str]:
    """The headers of any answer but those pages, for an answer that is made where headers are texts."""
    return {name.decode(): value.decode() for name, value in _ANSWER}
