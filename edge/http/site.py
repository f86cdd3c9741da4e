"""The page as it is served: read once at start, compressed once, so that the hub's thread only hands out bytes."""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
import pathlib
import re
from dataclasses import dataclass

MAX_SITE_BYTES = 64 << 20
_HASHED = re.compile(r"assets/.+[-.][A-Za-z0-9_-]{8,}\.\w+(\.map)?")
_COMPRESSED = ("text/", "application/javascript", "application/json", "application/manifest+json", "image/svg+xml")
_MIN_COMPRESSED_BYTES = 512
FOREVER = "public, max-age=31536000, immutable"
REVALIDATE = "no-cache"

NOT_BUILT = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Throng</title></head>
<body><h1>Throng runs</h1>
<p>The page is not built yet. Build it with <code>make web</code> and start again; <code>make run</code> does both.</p>
<p>Programs connect to <code>/ws</code>; see docs/protocol.md.</p></body></html>
"""


@dataclass(frozen=True, slots=True)
class Asset:
    """One file: its bytes, and the compressed ones when that pays."""

    body: bytes
    compressed: bytes | None
    content_type: str
    etag: str
    cache_control: str


class Site:
    """Files by path, without a leading slash. A path that was not there at start does not exist."""

    def __init__(self, assets: dict[str, Asset], *, built: bool) -> None:
        self._assets = assets
        self.built = built

    def find(self, path: str) -> Asset | None:
        """The file of a path; None: there is none."""
        return self._assets.get(path)

    @property
    def index(self) -> Asset:
        """The page itself, also for paths that only the page's own script knows."""
        return self._assets["index.html"]


def load_site(folder: pathlib.Path) -> Site:
    """Reads the built page; without one there is a plain page that says how to build it.

    Raises:
        ValueError: the folder holds more than 64 MiB, so it is hardly a page.
    """
    assets: dict[str, Asset] = {}
    total_bytes = 0
    if (folder / "index.html").is_file():
        root = folder.resolve()
        for path in sorted(root.rglob("*")):
            if path.is_file() and path.resolve().is_relative_to(root):
                name = path.relative_to(root).as_posix()
                body = path.read_bytes()
                total_bytes += len(body)
                if total_bytes > MAX_SITE_BYTES:
                    raise ValueError(f"{folder} holds more than {MAX_SITE_BYTES >> 20} MiB; is it the built page?")
                assets[name] = make_asset(name, body)
    built = bool(assets)
    if not built:
        assets["index.html"] = make_asset("index.html", NOT_BUILT.encode())
    return Site(assets, built=built)


def make_asset(name: str, body: bytes) -> Asset:
    """Prepares one file; hashed names are cached for ever, everything else is asked for again."""
    content_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    if content_type == "text/javascript":
        content_type = "application/javascript"
    compressed = None
    if len(body) >= _MIN_COMPRESSED_BYTES and content_type.startswith(_COMPRESSED):
        compressed = gzip.compress(body, 9, mtime=0)
    if content_type.startswith("text/") or content_type in ("application/javascript", "application/json"):
        content_type += "; charset=utf-8"
    return Asset(
        body=body,
        compressed=compressed if compressed is not None and len(compressed) < len(body) else None,
        content_type=content_type,
        etag=f'"{hashlib.sha256(body).hexdigest()[:20]}"',
        cache_control=FOREVER if _HASHED.fullmatch(name) else REVALIDATE,
    )
