"""A FastAPI app that does nothing, in the server that the API runs in: what a request costs before anything is done for it."""

from __future__ import annotations

import os
import socket

from fastapi import FastAPI, Response

from serving.app import server_of

app = FastAPI()


@app.get("/")
async def nothing() -> Response:
    """An empty object."""
    return Response(b"{}", media_type="application/json")


if __name__ == "__main__":
    server_of(app).run(sockets=[socket.create_server(("127.0.0.1", int(os.environ["FRESHET_API_PORT"])), backlog=2048)])
