"""Adds the pages for people: /docs, the page of Swagger UI, and / which leads a browser to /explore and a program to /docs.

Links are relative, so that they work behind a proxy that shows the service under another path.
"""

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse

# where FastAPIOffline serves the files of Swagger UI
FILES = "static-offline-docs"
# Every operation shows its fields and the button Execute when it is opened; the schemas stay folded.
# Answers have no colours: to colour a map of 10,000 points takes a browser several seconds, in which it does nothing else.
PARAMETERS = {
    "tryItOutEnabled": True,
    "defaultModelsExpandDepth": 0,
    "displayRequestDuration": True,
    "syntaxHighlight": False,
}


def add_pages(app: FastAPI) -> None:
    """Add both pages to an application of FastAPIOffline."""

    @app.get("/", include_in_schema=False)
    async def root(request: Request) -> RedirectResponse:
        # Relative to /vae, which a proxy may show without a slash, "docs" would be /docs.
        root_path: str = request.scope.get("root_path", "")
        page = "explore" if "text/html" in request.headers.get("accept", "") else "docs"
        return RedirectResponse(f"{root_path}/{page}" if root_path else page, headers={"vary": "accept"})

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        page = get_swagger_ui_html(
            openapi_url="openapi.json",
            title=f"{app.title} - Swagger UI",
            swagger_js_url=f"{FILES}/swagger-ui-bundle.js",
            swagger_css_url=f"{FILES}/swagger-ui.css",
            swagger_favicon_url=f"{FILES}/favicon.png",
            swagger_ui_parameters=PARAMETERS,
        )
        # Screen readers need the language of a page and its main landmark, which FastAPI's page lacks.
        text = bytes(page.body).decode().replace("<html>", '<html lang="en">')
        return HTMLResponse(text.replace('<div id="swagger-ui">\n    </div>', '<main id="swagger-ui"></main>'))
