"""Assembles the gateway: middleware, routes, error handlers and background tasks."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.types import Receive, Scope, Send

from service import aliases, deletion, docs_page, errors, half_imported, messages, queueing, retention
from service.caching import Revalidation
from service.gateway import Gateway
from service.heads import Heads
from service.limits import SmallBodies
from service.openapi import describe
from service.routes import (
    datasets,
    health,
    jobs,
    jobs_progress,
    models,
    models_files,
    png_info,
    problems,
    samples,
)
from service.security import OwnNames, SameOrigin
from service.settings import Settings
from service.shortcut import ShortWay
from service.undeclared import refuse_undeclared

_DESCRIPTION = (
    "Send images, train a generator, fetch pictures by seed: POST a zip to `/datasets`, POST "
    '`{"dataset": "ds_…"}` to `/jobs`, watch `/jobs/{id}/events`, then GET `/samples?seed=7`. '
    "Every refusal is a problem document (RFC 9457) with a stable `code`; `/problems` lists them."
)

_NO_TELEMETRY: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False}
"""FastAPI spends 25 µs per request on finding out that telemetry has no listener."""
_EVERY_ADDRESS = ("0.0.0.0", "::", "")  # noqa: S104 — compared with, not bound to


class _App(FastAPI):
    short_way: ShortWay

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if not await self.short_way.answered(scope, receive, send):
                await super().__call__(scope, receive, send)
        except asyncio.CancelledError:
            if not self.state.gateway.hub.is_closing:
                raise  # else the connection has been refused, and uvicorn would log this as a failure

    def openapi(self) -> dict[str, Any]:
        return describe(self)


def create_app(settings: Settings | None = None) -> FastAPI:
    """Create the gateway's ASGI app, which opens no file or connection before its lifespan begins."""
    settings = settings or Settings()
    gateway = Gateway(settings)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with gateway.running():
            gateway.background.run(retention.run(gateway))
            gateway.background.run(aliases.settle(gateway))
            gateway.background.run(deletion.run(gateway))
            gateway.background.run(half_imported.settle(gateway))
            gateway.background.run(queueing.settle(gateway))
            yield

    app = _App(
        title="DCGAN service",
        version="0.1.0",
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # its Location is absolute, with a scheme that is wrong behind a proxy
        dependencies=[Depends(refuse_undeclared)],
        telemetry=_NO_TELEMETRY,
    )
    app.state.gateway = gateway
    app.webhooks.include_router(messages.router)
    app.add_middleware(SmallBodies, upload_paths=("/datasets", "/models", "/png-info"))
    own_names = OwnNames((*_bound_to(settings), *settings.allowed_hosts))
    app.add_middleware(SameOrigin, own_names=own_names)
    app.add_middleware(Revalidation)
    app.short_way = ShortWay(gateway, own_names)
    for part in (datasets, jobs, jobs_progress, samples, png_info, models, models_files, health, problems):
        app.include_router(part.router)
    docs_page.install(app)
    app.router.routes.append(Heads(tuple(app.router.routes)))
    errors.install(app)
    return app


def _bound_to(settings: Settings) -> tuple[str, ...]:
    return () if settings.host in _EVERY_ADDRESS else (settings.host,)
