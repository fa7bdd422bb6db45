"""The API reference page and its bundled assets: values only, no routes.

Nothing the page loads comes from another host; `CONTENT_SECURITY_POLICY` makes the browser enforce it.
Why this reference UI and how its silence was measured: docs/decisions/0001-api-reference-page.md.
"""

import gzip
import json
from functools import cache
from html import escape
from importlib.resources import files

ASSETS_URL = "/docs/assets/"
"""Where the application serves `asset(name)`; the name carries its version, so it may be cached for ever."""

REFERENCE_SCRIPT = "scalar-1.46.4.js"

_CONTENT_TYPES = {
    REFERENCE_SCRIPT: "text/javascript; charset=utf-8",
}

# 'unsafe-inline' is for styles only: the reference UI creates style elements and attributes as it runs.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'unsafe-inline'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)

# Every option here turns off something that would call another host, or advertise one.
_CONFIGURATION = {
    "agent": {"disabled": True},
    "defaultHttpClient": {"targetKey": "shell", "clientKey": "curl"},
    "hideClientButton": True,
    "mcp": {"disabled": True},
    "operationTitleSource": "summary",
    "persistAuth": False,
    "showDeveloperTools": "never",
    "telemetry": False,
    "theme": "none",
    "withDefaultFonts": False,
}

_ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E"
    "%3Crect width='16' height='16' rx='3' fill='%230f5e6e'/%3E"
    "%3Cpath d='M4 13 9 2l3 11' fill='none' stroke='%23fff' stroke-width='1.6'/%3E%3C/svg%3E"
)

_STYLE = """\
:root{--scalar-font:system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;
--scalar-font-code:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;--scalar-radius:5px;--scalar-radius-lg:8px}
.light-mode{--scalar-color-accent:#0b6475;--scalar-background-2:#f4f7f8;--scalar-background-3:#e8eef0;
--scalar-background-accent:#0b64751a;--scalar-border-color:#dde5e8;
--scalar-sidebar-background-1:#f7fafa;--scalar-sidebar-color-active:#0b6475;
--scalar-sidebar-item-active-background:#0b64751a}
.dark-mode{--scalar-color-accent:#5cc4d6;--scalar-background-1:#10171a;--scalar-background-2:#172126;
--scalar-background-3:#223038;--scalar-background-accent:#5cc4d61f;--scalar-border-color:#2a3940;
--scalar-sidebar-background-1:#0d1316;--scalar-sidebar-color-active:#5cc4d6;
--scalar-sidebar-item-active-background:#5cc4d61f}
body{margin:0}
noscript{display:block;padding:2rem;font-family:system-ui,sans-serif}"""

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{title}</title>
<link rel="icon" href="{icon}">
<style>
{style}
</style>
</head>
<body>
<noscript>This page needs JavaScript; the document itself is at <a href="{url}">{url}</a>.</noscript>
<script id="api-reference" type="application/json" data-url="{url}"
 data-configuration="{configuration}"></script>
<script src="{script}"{nonce}></script>
</body>
</html>
"""


def reference_page(
    title: str, openapi_url: str, csp_nonce: str | None = None, *, assets_url: str = ASSETS_URL
) -> bytes:
    """The HTML page that shows the document at `openapi_url`.

    It has no inline script, so it works under `CONTENT_SECURITY_POLICY` as it is; the nonce is only for an
    application whose own policy allows scripts by nonce.
    """
    return _PAGE.format(
        title=escape(title),
        icon=_ICON,
        style=_STYLE,
        url=escape(openapi_url),
        configuration=escape(json.dumps(_CONFIGURATION, separators=(",", ":"))),
        script=escape(assets_url + REFERENCE_SCRIPT),
        nonce=f' nonce="{escape(csp_nonce)}"' if csp_nonce else "",
    ).encode()


@cache
def asset(name: str) -> tuple[bytes, str]:
    """The gzip-compressed bytes of a bundled file and its content type; KeyError when there is none."""
    content_type = _CONTENT_TYPES[name]
    return files("backstay.console").joinpath("assets", f"{name}.gz").read_bytes(), content_type


def asset_plain(name: str) -> bytes:
    """The same file decompressed, for the rare client that does not accept gzip."""
    return gzip.decompress(asset(name)[0])
