"""What routes ask for."""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import Depends, Request

from serving.services import Services


async def _services(request: Request) -> Services:  # async: a plain function would run in a thread
    return cast(Services, request.app.state.services)


Served = Annotated[Services, Depends(_services)]
