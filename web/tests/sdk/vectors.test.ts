/** The wire examples that the edge's codecs are held to as well (tests/vectors). */

import { readFileSync } from "node:fs";
import { fromBinary, fromJson, toBinary, type JsonValue } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { ClientFrameSchema, ServerFrameSchema } from "../../src/gen/throng/client/v1/client_pb";
import { decode, encode } from "../../src/sdk/codec";
import type { ClientRequest } from "../../src/sdk/types";

interface Vector {
  readonly name: string;
  readonly json: JsonValue;
  readonly hex: string;
}

const file = new URL("../../../tests/vectors/frames.json", import.meta.url);
const vectors = JSON.parse(readFileSync(file, "utf-8")) as { readonly client: Vector[]; readonly server: Vector[] };
const bytes = (hex: string) => Uint8Array.from(Buffer.from(hex, "hex"));
const hex = (data: Uint8Array) => Buffer.from(data).toString("hex");
const named = (name: string) => vectors.client.find((vector) => vector.name === name)?.hex;

describe("wire examples", () => {
  it.each(vectors.client)("client frame: $name", ({ json, hex: wanted }) => {
    expect(hex(toBinary(ClientFrameSchema, fromJson(ClientFrameSchema, json)))).toBe(wanted);
  });

  it.each(vectors.server)("server frame: $name", ({ json, hex: wanted }) => {
    expect(fromBinary(ServerFrameSchema, bytes(wanted))).toEqual(fromJson(ServerFrameSchema, json));
  });

  it.each(vectors.server)("the SDK reads: $name", ({ json, hex: wanted }) => {
    const { requestId, event } = decode(bytes(wanted));
    expect(requestId).toBe(Number((json as { requestId?: string }).requestId ?? 0));
    expect(event.kind).not.toBe("unknown");
  });

  const groupId = "lobby";
  const clientMsgId = "6f1c3a52-9d0e-4f4b-8a51-0d6b1c2e3f40";
  const requests: [string, ClientRequest, number][] = [
    ["leave", { kind: "leave", groupId }, 3],
    ["send a text", { kind: "send", groupId, clientMsgId, text: "你好 👋" }, 0],
    ["pull a gap", { kind: "pull", groupId, epoch: 2, afterSeq: 41, upToSeq: 50 }, 4],
    ["how far one has read", { kind: "report_read", groupId, readSeq: 41 }, 0],
    ["list groups", { kind: "list_groups" }, 8],
    ["page hidden", { kind: "set_visibility", hidden: true }, 0],
    ["ping", { kind: "ping" }, 9],
  ];
  it.each(requests)("the SDK writes: %s", (name, request, requestId) => {
    expect(hex(encode(request, requestId))).toBe(named(name));
  });
});
