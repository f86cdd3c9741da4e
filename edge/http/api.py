"""`/v1/…`: where to connect, what the page needs to know, and development login."""

from __future__ import annotations

from edge.http.admission import bearer_token
from edge.http.json_handler import JsonHandler
from edge.http.login import clean_name, user_id_for
from throng.domain.errors import ErrorCode, ThrongError
from throng.domain.ids import is_identifier

_MAX_AVOIDED = 16


class AssignHandler(JsonHandler):
    """`/v1/assign`: an edge with room, to whose url `/ws` is appended. Arguments: `avoid`, edges that just failed."""

    def options(self) -> None:
        """Answers a browser that asks before it asks."""
        self.allow_origin()
        self.set_header("Access-Control-Allow-Methods", "GET, POST")
        self.set_header("Access-Control-Allow-Headers", "Authorization, Content-Type")
        self.set_header("Access-Control-Max-Age", "86400")
        self.set_status(204)
        self.finish()

    async def get(self) -> None:
        """Asks a router; when none answers, it is this edge."""
        self.allow_origin()
        services = self.services
        token = bearer_token(self.request.headers)
        user_id = services.verifier.verify(token).user_id if token else ""
        avoided = [part for value in self.get_query_arguments("avoid") for part in value.split(",") if part]
        avoided = [edge_id for edge_id in avoided if is_identifier(edge_id)][:_MAX_AVOIDED]
        try:
            assigned = await services.assign(user_id, tuple(avoided))
            edge_id, url = assigned.edge_id, assigned.url
        except ThrongError:
            edge_id, url = services.edge_id, ""
        if edge_id == services.edge_id:
            url = services.own_url or self._own_url()
        self.write_json({"edge_id": edge_id, "url": url})

    async def post(self) -> None:
        """The same as `get`."""
        await self.get()

    def _own_url(self) -> str:
        """This edge as the client's request names it: right behind any proxy and on any of the machine's addresses."""
        scheme = "wss" if self.request.headers.get("X-Forwarded-Proto", self.request.protocol) == "https" else "ws"
        return f"{scheme}://{self.request.host}"


class ConfigHandler(JsonHandler):
    """`GET /v1/config`: what the page needs before anyone has logged in."""

    def get(self) -> None:
        """Answers with how to log in, where to connect and which groups to enter."""
        services = self.services
        self.write_json(
            {
                "dev_login": services.issuer is not None,
                "groups": list(services.config.default_groups),
                "version": services.config.version,
                "ws_path": "/ws",
            }
        )


class LoginHandler(JsonHandler):
    """`POST /v1/login` {name}: a token for a name, in development mode only."""

    def post(self) -> None:
        """Answers with a token for the user of that name."""
        self.allow_origin()
        issuer = self.services.issuer
        if issuer is None:
            raise ThrongError(ErrorCode.PERMISSION_DENIED, "development login is not enabled here")
        name = clean_name(self.json_body().get("name"))
        user_id = user_id_for(name)
        ttl_seconds = self.services.limits.login_ttl_seconds
        token = issuer.issue(user_id, ttl_seconds=ttl_seconds, name=name)
        self.write_json({"token": token, "user_id": user_id, "name": name, "expires_in_seconds": ttl_seconds})
