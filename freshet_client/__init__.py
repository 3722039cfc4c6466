"""A client of Freshet's HTTP API, blocking and for asyncio. Needs httpx and nothing else of Freshet.

    with Client("http://localhost:8000") as client:
        shown = client.recommendations("42", k=5)
        client.events.click("42", shown.items[0].item_id, request_id=shown.request_id, position=shown.items[0].position)

See docs/clients.md.
"""

from freshet_client.answers import (
    Freshness,
    GroupMember,
    GroupRecommendations,
    Intake,
    Models,
    Onboarding,
    OnboardingItem,
    PopularItems,
    RankedItem,
    Ranking,
    Readiness,
    Recommendations,
    RecommendedItem,
    RejectedEvent,
    SimilarItems,
)
from freshet_client.async_buffer import AsyncEventBuffer
from freshet_client.async_client import AsyncClient
from freshet_client.buffer import EventBuffer
from freshet_client.client import Client
from freshet_client.decoding import Answer
from freshet_client.errors import (
    ApiError,
    BufferClosed,
    BufferFull,
    Fault,
    FreshetError,
    InvalidAnswer,
    InvalidRequest,
    NotAllowed,
    NotFound,
    Problem,
    ServerError,
    SpoolInUse,
    TooManyRequests,
    Unreachable,
)
from freshet_client.events import Event
from freshet_client.outbox import BufferOptions, Counts, Rejection
from freshet_client.pages import (
    Candidate,
    Forgotten,
    ItemPage,
    LoggedRequest,
    ModelScores,
    ModelsPage,
    ModelVersion,
    OnlineModels,
    PastEvent,
    Removal,
    Scoreboard,
    UserPage,
    Why,
)
from freshet_client.retries import Retry
from freshet_client.target import Target

__all__ = [
    "Answer",
    "ApiError",
    "AsyncClient",
    "AsyncEventBuffer",
    "BufferClosed",
    "BufferFull",
    "BufferOptions",
    "Candidate",
    "Client",
    "Counts",
    "Event",
    "EventBuffer",
    "Fault",
    "Forgotten",
    "FreshetError",
    "Freshness",
    "GroupMember",
    "GroupRecommendations",
    "Intake",
    "InvalidAnswer",
    "InvalidRequest",
    "ItemPage",
    "LoggedRequest",
    "ModelScores",
    "ModelVersion",
    "Models",
    "ModelsPage",
    "NotAllowed",
    "NotFound",
    "Onboarding",
    "OnboardingItem",
    "OnlineModels",
    "PastEvent",
    "PopularItems",
    "Problem",
    "RankedItem",
    "Ranking",
    "Readiness",
    "Recommendations",
    "RecommendedItem",
    "RejectedEvent",
    "Rejection",
    "Removal",
    "Retry",
    "Scoreboard",
    "ServerError",
    "SimilarItems",
    "SpoolInUse",
    "Target",
    "TooManyRequests",
    "Unreachable",
    "UserPage",
    "Why",
]
