"""The one error tree of Freshet.

FreshetError
├── InvalidInput        a value that a person or a producer gave is wrong
│   ├── InvalidEvent    an event that cannot be applied; goes to dead-letters
│   └── InvalidSettings a setting that is wrong; stops the process at start
├── Unavailable         a server cannot be reached now; trying again may help
│   ├── KafkaUnavailable
│   ├── StoreUnavailable
│   └── SourceFailed    a product team's candidate source has no answer that can be used
├── Fenced              another worker owns this partition now: drop state, read again
├── LayoutMismatch      stored data was written with another partition count or format
└── StackError          the local stack cannot be started or stopped
"""


class FreshetError(Exception):
    """Base of every error that Freshet raises on purpose."""


class InvalidInput(FreshetError):
    """A value that a person or a producer gave is wrong; the message names it and says what is expected."""


class InvalidEvent(InvalidInput):
    """An event that cannot be applied.

    Args:
        reason: short machine-readable reason (`not_json`, `invalid`, `timestamp_in_future`, ...), the `reason` of the dead letter.
        detail: one sentence for a person, the `error` of the dead letter.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class InvalidSettings(InvalidInput):
    """A setting that is wrong; the process does not start."""


class Unavailable(FreshetError):
    """A server cannot be reached now; trying again may help."""


class KafkaUnavailable(Unavailable):
    """Kafka cannot be reached or does not acknowledge."""


class StoreUnavailable(Unavailable):
    """The feature store (Redis) cannot be reached or refuses writes."""


class SourceFailed(Unavailable):
    """A product team's candidate source has no answer that can be used; the answer to the request does without.

    Args:
        reason: `timeout`, `unreachable`, `status`, `too_large`, `garbage`, `raised`, `busy` or `open`; counted by it.
        detail: one sentence for a person.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class Fenced(FreshetError):
    """The stored watermark is not the one this writer left: another worker wrote, or the store was flushed or restored."""


class LayoutMismatch(FreshetError):
    """Stored data was written with another partition count or another format version."""


class StackError(FreshetError):
    """The local stack cannot be started or stopped; the message lists the ways out."""
