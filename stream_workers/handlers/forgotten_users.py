"""Who of one user partition was forgotten, and when: nothing of an id but its hash."""

from __future__ import annotations

from collections.abc import Mapping

from feature_store.forgotten_blob import hash_of, pack_forgotten

NEVER = 0


class ForgottenUsers:
    """Forgotten users of one partition.

    Args:
        salt: key of the hashes, of this store.
        times: as of `forgotten_blob.pack_forgotten`.
        keep_ms: log time after which nothing from before a forgetting can come again; negative: for ever.
    """

    def __init__(self, salt: bytes = b"", times: Mapping[bytes, int] | None = None, keep_ms: int = -1) -> None:
        self._salt = salt
        self._times = dict(times or {})
        self._keep_ms = keep_ms

    def time_of(self, user_id: str) -> int:
        """Log time up to which events of this user are ignored, ms; 0: they were never forgotten."""
        if not self._times:  # the rule; a hash of every user who comes back would not be free
            return NEVER
        return self._times.get(hash_of(user_id, self._salt), NEVER)

    def add(self, user_id: str, appended: int) -> None:
        """Note that the log took in the wish to forget this user at `appended`, ms; drop those that are older than `keep_ms`."""
        digest = hash_of(user_id, self._salt)
        self._times[digest] = max(appended, self._times.pop(digest, NEVER))
        if self._keep_ms >= 0:
            self._times = {one: time for one, time in self._times.items() if time >= appended - self._keep_ms}

    def packed(self) -> bytes:
        """All of them as a blob."""
        return pack_forgotten(self._times)
