/** Serves the built page with a fake edge behind it, to look at the page without the rest of Throng: `npm run mock`. */

import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { createServer, type IncomingMessage } from "node:http";
import { extname, join } from "node:path";
import type { Duplex } from "node:stream";
import { FakeEdge } from "./fake_edge";

const PORT = Number(process.env.PORT ?? 8099);
const STATIC = join(process.cwd(), "..", "edge", "static");
const TYPES: Record<string, string> = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml" };
const CSP = "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' https: data:; style-src 'self'";

const edge = new FakeEdge();
furnish(edge);

const server = createServer((request, response) => {
  const path = new URL(request.url ?? "/", "http://localhost").pathname;
  const json = (value: unknown) => response.setHeader("Content-Type", "application/json").end(JSON.stringify(value));
  if (path === "/v1/config") json({ dev_login: true, groups: ["lobby"], ws_path: "/ws" });
  else if (path === "/v1/assign") json({ edge_id: "edge-1", url: `ws://${request.headers.host}` });
  else if (path === "/v1/login") {
    let body = "";
    request.on("data", (chunk) => (body += String(chunk)));
    request.on("end", () => {
      const { name } = JSON.parse(body) as { name: string };
      const claims = Buffer.from(JSON.stringify({ sub: userIdOf(name), name, exp: 4_000_000_000 })).toString("base64url");
      json({ token: `e30.${claims}.x`, user_id: userIdOf(name), expires_in_seconds: 1_000 });
    });
  } else {
    const file = join(STATIC, path === "/" ? "index.html" : path);
    if (!existsSync(file)) response.writeHead(404).end();
    else {
      response.setHeader("Content-Security-Policy", CSP);
      response.setHeader("Content-Type", TYPES[extname(file)] ?? "text/plain").end(readFileSync(file));
    }
  }
});

server.on("upgrade", (request: IncomingMessage, socket: Duplex) => {
  const key = `${request.headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`;
  const accept = createHash("sha1").update(key).digest("base64");
  const protocols = String(request.headers["sec-websocket-protocol"]).split(/,\s*/);
  const token = (protocols[1] ?? "").split(".")[2] ?? "";
  const { sub, name } = JSON.parse(Buffer.from(token, "base64url").toString()) as { sub: string; name: string };
  const named = new URL(request.url ?? "/", "http://x").searchParams.get("groups")?.split(",") ?? [];
  const lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"];
  socket.write([...lines, `Sec-WebSocket-Accept: ${accept}`, "Sec-WebSocket-Protocol: throng.v1.protobuf", "", ""].join("\r\n"));
  const link = edge.connect(sub, name, (frame) => socket.write(frameOf(frame)), named);
  let buffer = Buffer.alloc(0);
  socket.on("data", (chunk: Buffer) => {
    buffer = Buffer.concat([buffer, chunk]);
    for (let taken = take(buffer); taken !== null; taken = take(buffer)) {
      buffer = buffer.subarray(taken.length);
      if (taken.opcode === 2) edge.receive(link, taken.payload);
      else if (taken.opcode === 8) socket.end();
    }
  });
  socket.on("close", () => edge.disconnect(link));
  socket.on("error", () => edge.disconnect(link));
});

server.listen(PORT, "127.0.0.1", () => console.log(`http://127.0.0.1:${PORT}`));

function userIdOf(name: string): string {
  return `user-${createHash("sha256").update(name).digest("hex").slice(0, 8)}`;
}

function frameOf(payload: Uint8Array): Buffer {
  const size = payload.length;
  const head = size < 126 ? Buffer.from([0x82, size]) : Buffer.from([0x82, 126, size >> 8, size & 255]);
  if (size < 65_536) return Buffer.concat([head, payload]);
  const long = Buffer.alloc(10);
  long[0] = 0x82;
  long[1] = 127;
  long.writeBigUInt64BE(BigInt(size), 2);
  return Buffer.concat([long, payload]);
}

function take(buffer: Buffer): { readonly opcode: number; readonly payload: Buffer; readonly length: number } | null {
  if (buffer.length < 6) return null;
  let size = (buffer[1] ?? 0) & 127;
  let at = 2;
  if (size === 126) {
    size = buffer.readUInt16BE(2);
    at = 4;
  }
  if (buffer.length < at + 4 + size) return null;
  const mask = buffer.subarray(at, at + 4);
  const payload = Buffer.from(buffer.subarray(at + 4, at + 4 + size).map((byte, index) => byte ^ (mask[index % 4] ?? 0)));
  return { opcode: (buffer[0] ?? 0) & 15, payload, length: at + 4 + size };
}

/** People, so that there is something to look at. */
function furnish(target: FakeEdge): void {
  const now = Date.now();
  const lobby = target.group("lobby", "Lobby");
  lobby.announcement = "Welcome to the lobby. Be kind, keep it short, and read the announcement before you ask where the announcement is.";
  lobby.memberCount = 1_024_377;
  const people = ["Ada Lovelace", "王小明", "Grace Hopper", "Jürgen", "李娜", "Sam"];
  const lines = [
    "Good morning everybody!",
    "早上好，今天的分享几点开始？",
    "At ten, I believe. The slides are at https://example.org/slides?id=42.",
    "Could somebody explain how a million people fit into one group?",
    "Each edge holds a part of them, and the router knows which edge holds which group. Blocks are formed once and sent to all.",
    "好的，谢谢！",
    "👍",
    "And nothing is lost when an edge dies?",
    "Nothing that was acknowledged. You reconnect elsewhere, say how far you got, and get the rest.",
  ];
  for (let index = 0; index < 640; index += 1) {
    const person = people[Math.floor(index / 2) % people.length] ?? "";
    const text = lines[index % lines.length] ?? "";
    target.say("lobby", userIdOf(person), text, { name: person, sentAtMs: now - (640 - index) * 190_000 });
  }
  target.recall("lobby", userIdOf("Sam"), 630);
  target.group("tea", "茶室 Tea room").memberCount = 12;
  target.say("tea", userIdOf("李娜"), "今天喝什么茶？", { name: "李娜", sentAtMs: now - 3_600_000 });
  target.group("release", "Release 1.0").memberCount = 48;
  for (let index = 0; index < 120; index += 1) target.say("release", userIdOf("Jürgen"), `Build ${index} is green`, { name: "Jürgen", sentAtMs: now - 90_000_000 + index });
  target.group("quiet", "A quiet place with a rather long name that will not fit").memberCount = 3;
}
