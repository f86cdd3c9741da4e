/** Says when the connection is not as it should be; lies over the page, so nothing moves. */

import { useEffect, useState } from "preact/hooks";
import type { ConnectionState, ThrongClient } from "../sdk";
import { useStore, useTexts } from "./hooks";
import type { Texts } from "./texts";

const TOO_MANY_CONNECTIONS = 4200;

export function ConnectionBanner({ client }: { readonly client: ThrongClient }) {
  const texts = useTexts();
  const state = useStore(client.state);
  const networkAvailable = useNetworkAvailable();
  const [wasOnline, setWasOnline] = useState(false);
  useEffect(() => {
    if (state.phase === "online") setWasOnline(true);
  }, [state.phase]);
  const text = bannerText(state, texts, { networkAvailable, wasOnline });
  const canTry = state.phase === "waiting" || state.phase === "stopped";
  return (
    <div class={`banner ${text === "" ? "" : "banner-shown"} banner-${state.phase}`}>
      <span data-testid="connection-state" data-phase={state.phase} role="status" aria-live="polite">
        {text}
      </span>
      {text !== "" && canTry && (
        <button type="button" onClick={() => client.reconnectNow()}>
          {state.phase === "stopped" ? texts.connect : texts.tryNow}
        </button>
      )}
    </div>
  );
}

interface Circumstances {
  readonly networkAvailable: boolean;
  readonly wasOnline: boolean;
}

/** Empty when all is well. */
export function bannerText(state: ConnectionState, texts: Texts, { networkAvailable, wasOnline }: Circumstances): string {
  if (state.phase === "stopped") return state.code === TOO_MANY_CONNECTIONS ? texts.tooManyConnections : texts.stopped;
  if (state.phase === "online" || state.phase === "idle") return "";
  if (!networkAvailable) return texts.offline;
  return wasOnline ? texts.reconnecting : texts.connecting;
}

function useNetworkAvailable(): boolean {
  const [available, setAvailable] = useState(navigator.onLine);
  useEffect(() => {
    const update = () => setAvailable(navigator.onLine);
    window.addEventListener("online", update);
    window.addEventListener("offline", update);
    return () => {
      window.removeEventListener("online", update);
      window.removeEventListener("offline", update);
    };
  }, []);
  return available;
}
