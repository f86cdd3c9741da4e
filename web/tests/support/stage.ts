/** A client on a fake environment, ready to play. */

import { ThrongClient, type TokenSource } from "../../src/sdk";
import { FakeEnvironment } from "./fake_environment";

export interface Stage {
  readonly environment: FakeEnvironment;
  readonly client: ThrongClient;
}

interface StageOptions {
  readonly seed?: number;
  readonly token?: TokenSource;
  readonly assignUrl?: string;
}

export function stage(options: StageOptions = {}): Stage {
  const environment = new FakeEnvironment(options.seed ?? 1);
  const client = new ThrongClient({
    url: "ws://edge.test/ws",
    token: options.token ?? (() => Promise.resolve("a.token.b")),
    environment,
    ...(options.assignUrl === undefined ? {} : { assignUrl: options.assignUrl }),
  });
  return { environment, client };
}

/** A client that is online and has opened a group. */
export async function openStage(groupId = "g", options: StageOptions = {}) {
  const { environment, client } = stage(options);
  const session = client.open(groupId);
  client.start();
  await environment.advance(100);
  return { environment, client, session, edge: environment.edge };
}
