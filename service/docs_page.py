"""The page at /docs, with scripts and styles served locally, so that it loads nothing from the internet."""

from pathlib import Path

import fastapi_offline
from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.staticfiles import StaticFiles
from starlette.responses import HTMLResponse, RedirectResponse

_FILES = Path(fastapi_offline.__file__).parent / "static"
_ADDRESS = "/docs/files"


def install(app: FastAPI) -> None:
    """Serve the page at /docs, and redirect / to it."""
    app.mount(_ADDRESS, StaticFiles(directory=_FILES), name="docs-files")

    @app.get("/docs", include_in_schema=False)
    async def show_docs() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url=str(app.openapi_url),
            title=app.title,
            swagger_js_url=f"{_ADDRESS}/swagger-ui-bundle.js",
            swagger_css_url=f"{_ADDRESS}/swagger-ui.css",
            swagger_favicon_url=f"{_ADDRESS}/favicon.png",
        )

    @app.get("/", include_in_schema=False)
    async def lead_to_docs() -> RedirectResponse:
        return RedirectResponse("/docs", status_code=307)
