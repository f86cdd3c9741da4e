"""`GET /` and everything that the built page consists of; unknown paths without a file name lead to the page itself."""

from __future__ import annotations

from edge.http.json_handler import CONTENT_SECURITY_POLICY, JsonHandler
from edge.http.site import Asset
from throng.domain.errors import ErrorCode


class PageHandler(JsonHandler):
    """Serves the page from memory."""

    def get(self, path: str) -> None:
        """Answers with a file, or with the page for a path that only its script knows."""
        asset = self._find(path)
        if asset is None:
            self.write_json({"code": ErrorCode.INVALID_ARGUMENT.name, "text": "there is nothing at this address"}, status=404)
            return
        self.set_header("Content-Type", asset.content_type)
        self.set_header("Cache-Control", asset.cache_control)
        self.set_header("ETag", asset.etag)
        if asset.content_type.startswith("text/html"):
            self.set_header("Content-Security-Policy", CONTENT_SECURITY_POLICY)
        if asset.compressed is not None:
            self.set_header("Vary", "Accept-Encoding")
        if self.request.headers.get("If-None-Match") == asset.etag:
            self.set_status(304)
            self.finish()
        elif asset.compressed is not None and "gzip" in self.request.headers.get("Accept-Encoding", ""):
            self.set_header("Content-Encoding", "gzip")
            self.finish(asset.compressed)
        else:
            self.finish(asset.body)

    def head(self, path: str) -> None:
        """The headers of `get`."""
        self.get(path)

    def _find(self, path: str) -> Asset | None:
        site = self.services.site
        asset = site.find(path or "index.html")
        is_route = "." not in path.rsplit("/", 1)[-1] and not path.startswith(("v1/", "assets/"))
        return site.index if asset is None and is_route else asset

    def compute_etag(self) -> None:
        """Keeps Tornado from hashing the body: the tag was made when the file was read."""
