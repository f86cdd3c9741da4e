/** Signing in: by a name in development mode, otherwise by a token. */

import { useState } from "preact/hooks";
import { lastName, logIn, useToken, type Account, type PageConfig } from "./account";
import { useTexts } from "./hooks";
import { Mark } from "./icons";

interface LoginProps {
  readonly config: PageConfig;
  readonly signedOut: boolean;
  readonly onAccount: (account: Account) => void;
}

const MAX_NAME_CHARACTERS = 100;

export function LoginView({ config, signedOut, onAccount }: LoginProps) {
  const texts = useTexts();
  const [value, setValue] = useState(config.devLogin ? lastName() : "");
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState(signedOut ? texts.signedOut : "");

  const submit = (event: Event) => {
    event.preventDefault();
    const entered = value.trim();
    if (entered === "" || busy) return;
    if (!config.devLogin) {
      onAccount(useToken(entered));
      return;
    }
    setBusy(true);
    setProblem("");
    logIn(entered)
      .then((account) => (account === null ? setProblem(texts.loginFailed) : onAccount(account)))
      .catch(() => setProblem(texts.serverAway))
      .finally(() => setBusy(false));
  };

  return (
    <main class="login">
      <form class="card" onSubmit={submit} noValidate>
        <Mark />
        <h1>Throng</h1>
        <p class="tagline">{texts.tagline}</p>
        <label class="field">
          <span>{config.devLogin ? texts.yourName : texts.tokenLabel}</span>
          <input
            data-testid="login-name"
            type="text"
            name={config.devLogin ? "nickname" : "token"}
            autocomplete={config.devLogin ? "nickname" : "off"}
            autocapitalize={config.devLogin ? "words" : "none"}
            spellcheck={false}
            autofocus
            placeholder={config.devLogin ? texts.namePlaceholder : "eyJhbGciOi…"}
            maxLength={config.devLogin ? MAX_NAME_CHARACTERS : undefined}
            value={value}
            aria-describedby="login-problem"
            onInput={(event) => setValue(event.currentTarget.value)}
          />
        </label>
        <button class="button button-wide" data-testid="login-submit" type="submit" disabled={busy || value.trim() === ""}>
          {busy ? texts.entering : texts.enter}
        </button>
        <p id="login-problem" class="problem" role="alert">
          {problem}
        </p>
        <p class="fine-print">{config.devLogin ? texts.devHint : texts.tokenNeeded}</p>
      </form>
    </main>
  );
}
