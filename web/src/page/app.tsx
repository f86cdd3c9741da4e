/** Decides what is shown: sign-in or chat; makes one client per account and tells it what the browser tells. */

import { useCallback, useEffect, useState } from "preact/hooks";
import { ThrongClient } from "../sdk";
import { fetchConfig, forget, renewToken, storedAccount, type Account, type PageConfig } from "./account";
import { ChatView } from "./chat_view";
import { useTexts } from "./hooks";
import { LoginView } from "./login_view";

type Screen =
  | { readonly kind: "starting" }
  | { readonly kind: "away" }
  | { readonly kind: "login"; readonly config: PageConfig; readonly signedOut: boolean }
  | { readonly kind: "chat"; readonly config: PageConfig; readonly account: Account; readonly client: ThrongClient };

export function App() {
  const texts = useTexts();
  const [screen, setScreen] = useState<Screen>({ kind: "starting" });

  const start = useCallback((config: PageConfig, account: Account | null) => {
    if (account === null) setScreen({ kind: "login", config, signedOut: false });
    else setScreen({ kind: "chat", config, account, client: clientFor(config, account) });
  }, []);

  const load = useCallback(() => {
    setScreen({ kind: "starting" });
    fetchConfig().then(
      (config) => start(config, storedAccount()),
      () => setScreen({ kind: "away" }),
    );
  }, [start]);
  useEffect(load, [load]);

  const signOut = useCallback((config: PageConfig, asked: boolean) => {
    forget();
    setScreen({ kind: "login", config, signedOut: !asked });
  }, []);

  if (screen.kind === "starting") return <main class="login" aria-busy="true" />;
  if (screen.kind === "away") {
    return (
      <main class="login">
        <div class="card card-narrow" role="alert">
          <p>{texts.serverAway}</p>
          <button class="button" type="button" onClick={load}>
            {texts.tryNow}
          </button>
        </div>
      </main>
    );
  }
  if (screen.kind === "login") {
    return <LoginView config={screen.config} signedOut={screen.signedOut} onAccount={(account) => start(screen.config, account)} />;
  }
  return <RunningClient key={screen.account.token} screen={screen} onSignOut={(asked) => signOut(screen.config, asked)} />;
}

interface RunningProps {
  readonly screen: Extract<Screen, { kind: "chat" }>;
  readonly onSignOut: (asked: boolean) => void;
}

/** Runs a client as long as it is shown. */
function RunningClient({ screen, onSignOut }: RunningProps) {
  const { client, account } = screen;
  useEffect(() => {
    const onVisibility = () => client.setHidden(document.hidden);
    const onNetwork = () => client.setNetwork({ available: navigator.onLine });
    const onLeave = () => client.setHidden(true);
    document.addEventListener("visibilitychange", onVisibility);
    window.addEventListener("online", onNetwork);
    window.addEventListener("offline", onNetwork);
    window.addEventListener("pagehide", onLeave);
    const stopWatching = client.state.subscribe((state) => {
      if (state.phase === "stopped" && state.reason === "signed_out") onSignOut(false);
    });
    onVisibility();
    client.start();
    return () => {
      document.removeEventListener("visibilitychange", onVisibility);
      window.removeEventListener("online", onNetwork);
      window.removeEventListener("offline", onNetwork);
      window.removeEventListener("pagehide", onLeave);
      stopWatching();
      client.stop();
    };
  }, [client]);
  return <ChatView client={client} name={account.name} onSignOut={() => onSignOut(true)} />;
}

function clientFor(config: PageConfig, account: Account): ThrongClient {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  return new ThrongClient({
    url: `${scheme}://${location.host}${config.wsPath}`,
    assignUrl: "/v1/assign",
    groups: config.groups,
    token: (reason) => renewToken(account, config, reason),
  });
}
