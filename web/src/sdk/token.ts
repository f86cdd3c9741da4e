/** Reads what a page may know of its JWT, without verifying it: a refused handshake does not tell a browser why. */

/** When the token ends, milliseconds since 1970; Infinity when that cannot be told. */
export function tokenExpiresAtMs(token: string): number {
  const expiry = claims(token)["exp"];
  return typeof expiry === "number" ? expiry * 1000 : Number.POSITIVE_INFINITY;
}

/** The name in the token, or its user id, or nothing. */
export function tokenName(token: string): string {
  const { name, sub } = claims(token);
  if (typeof name === "string" && name !== "") return name;
  return typeof sub === "string" ? sub : "";
}

function claims(token: string): Record<string, unknown> {
  try {
    const part = (token.split(".")[1] ?? "").replace(/-/g, "+").replace(/_/g, "/");
    const bytes = Uint8Array.from(atob(part), (character) => character.charCodeAt(0));
    const value: unknown = JSON.parse(new TextDecoder().decode(bytes));
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}
