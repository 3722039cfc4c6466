"""The calls to Freshet's API that the demo makes, as a client in any language would."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Final
from urllib.parse import quote

import httpx

from schemas.errors import FreshetError, InvalidSettings, Unavailable
from schemas.settings import Settings
from serving.access.keys import VARIABLE, keys_of
from serving.access.roles import Role

_SECONDS: Final = 10.0


def admin_key(settings: Settings) -> str | None:
    """The first key of the settings that may do everything; None: the API asks for none.

    Raises:
        InvalidSettings: the keys are wrong, or none of them may.
    """
    grants = keys_of(settings)
    if grants is None:
        return None
    key = next((key for key, roles in grants.items() if Role.ADMIN in roles), None)
    if key is None:
        raise InvalidSettings(f"{VARIABLE}: the demo needs a key with the role {Role.ADMIN}, or no keys at all")
    return key


class Api:
    """One connection, kept open.

    Every method raises Unavailable when nobody answers, FreshetError when the answer is an error.

    Args:
        url: of the API.
        key: what it asks for; None: it asks for none.
    """

    def __init__(self, url: str, key: str | None = None) -> None:
        self.url = url
        self.asks_for_key = key is not None
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        # No proxies of the environment: the API is on this machine.
        self._client = httpx.Client(base_url=url, timeout=_SECONDS, trust_env=False, headers=headers)

    def __enter__(self) -> Api:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._client.close()

    def recommendations(self, user_id: str, k: int) -> dict[str, Any]:
        """What to show a user."""
        return self._call("GET", f"/v1/users/{quote(user_id, safe='')}/recommendations", params={"k": k})

    def user(self, user_id: str) -> dict[str, Any]:
        """What is known of a user."""
        return self._call("GET", f"/v1/users/{quote(user_id, safe='')}")

    def popular(self, k: int) -> dict[str, Any]:
        """What is popular now."""
        return self._call("GET", "/v1/popular", params={"k": k})

    def similar(self, item_id: str, k: int) -> dict[str, Any]:
        """What is taken together with an item."""
        return self._call("GET", f"/v1/items/{quote(item_id, safe='')}/similar", params={"k": k})

    def click(self, user_id: str, item_id: str, timestamp_ms: int) -> None:
        """Send a click; returns when Kafka has it."""
        event = {"type": "click", "user_id": user_id, "item_id": item_id, "timestamp": timestamp_ms}
        answer = self._call("POST", "/v1/events", json=event)
        if answer.get("accepted") != 1:
            raise FreshetError(f"the API did not accept a click on {item_id!r}: {answer}")

    def _call(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        try:
            answer = self._client.request(method, path, **more)
        except httpx.HTTPError as error:
            raise Unavailable(f"the API at {self.url} does not answer {method} {path}: {error}") from error
        if answer.is_error:
            raise FreshetError(f"the API answers {method} {path} with {answer.status_code}: {answer.text[:300]}")
        found: dict[str, Any] = answer.json()
        return found
