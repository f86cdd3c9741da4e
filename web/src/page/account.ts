/** Who uses this tab: the token from the address, from a name (development) or pasted, kept for this tab only. */

import { tokenExpiresAtMs, tokenName, type TokenReason } from "../sdk";

export interface Account {
  readonly token: string;
  readonly name: string;
}

export interface PageConfig {
  readonly devLogin: boolean;
  readonly groups: readonly string[];
  readonly wsPath: string;
}

const ACCOUNT_KEY = "throng.account";
const NAME_KEY = "throng.name";
const TIMEOUT_MS = 8_000;

/** What the server says that the page needs; rejects when it is away. */
export async function fetchConfig(): Promise<PageConfig> {
  const response = await fetch("/v1/config", { signal: AbortSignal.timeout(TIMEOUT_MS) });
  if (!response.ok) throw new Error(`config: ${response.status}`);
  const value = (await response.json()) as Record<string, unknown>;
  const groups = value["groups"];
  const wsPath = value["ws_path"];
  return {
    devLogin: value["dev_login"] === true,
    groups: Array.isArray(groups) ? groups.filter((group) => typeof group === "string") : [],
    wsPath: typeof wsPath === "string" ? wsPath : "/ws",
  };
}

/** The account of this tab; a token in the address comes first and is taken out of it. */
export function storedAccount(): Account | null {
  const parameters = new URLSearchParams(location.hash.slice(1));
  const token = parameters.get("token");
  if (token !== null && token !== "") {
    history.replaceState(null, "", location.pathname + location.search);
    return keep({ token, name: tokenName(token) });
  }
  try {
    const value = JSON.parse(sessionStorage.getItem(ACCOUNT_KEY) ?? "null") as Account | null;
    return typeof value?.token === "string" && typeof value.name === "string" ? value : null;
  } catch {
    return null;
  }
}

export function keep(account: Account): Account {
  sessionStorage.setItem(ACCOUNT_KEY, JSON.stringify(account));
  return account;
}

export function forget(): void {
  sessionStorage.removeItem(ACCOUNT_KEY);
}

/** The name used last in this browser, to be offered again. */
export function lastName(): string {
  return localStorage.getItem(NAME_KEY) ?? "";
}

/** Logs in by name; null: the server refuses. Rejects when it is away. */
export async function logIn(name: string): Promise<Account | null> {
  const response = await fetch("/v1/login", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ name }),
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  if (response.status >= 500) throw new Error(`login: ${response.status}`);
  if (!response.ok) return null;
  const value = (await response.json()) as { readonly token?: unknown };
  if (typeof value.token !== "string") return null;
  localStorage.setItem(NAME_KEY, name);
  return keep({ token: value.token, name });
}

/** The account as a pasted token. */
export function useToken(token: string): Account {
  return keep({ token: token.trim(), name: tokenName(token.trim()) });
}

/** Gives the SDK a token: the one kept, or a new one by name where the server allows it; null: sign in again. */
export async function renewToken(account: Account, config: PageConfig, reason: TokenReason): Promise<string | null> {
  const expired = tokenExpiresAtMs(account.token) <= Date.now();
  if (reason === "start" && !expired) return account.token;
  if (reason === "refused" && !expired && !(await isRefused(account.token))) return account.token;
  if (!config.devLogin || account.name === "") return null;
  return (await logIn(account.name))?.token ?? null;
}

/** A browser is not told why a WebSocket handshake failed, but an ordinary request with the same token is. */
async function isRefused(token: string): Promise<boolean> {
  const headers = { Authorization: `Bearer ${token}` };
  const response = await fetch("/v1/assign", { headers, signal: AbortSignal.timeout(TIMEOUT_MS) });
  return response.status === 401;
}
