/** Text as text, with http and https addresses made links; nothing in a message is ever markup. */

import type { ComponentChildren } from "preact";

const ADDRESS = /https?:\/\/[^\s<>"'`，。；：！？、（）《》“”]+/gi;
const TRAILING = /[.,;:!?)\]}'"]+$/;

export interface TextPart {
  readonly text: string;
  /** null: plain. */
  readonly href: string | null;
}

/** Splits a text at its addresses. */
export function partsOf(text: string): TextPart[] {
  const parts: TextPart[] = [];
  let done = 0;
  for (const match of text.matchAll(ADDRESS)) {
    const address = match[0].replace(TRAILING, "");
    const href = hrefOf(address);
    if (href === null) continue;
    if (match.index > done) parts.push({ text: text.slice(done, match.index), href: null });
    parts.push({ text: address, href });
    done = match.index + address.length;
  }
  if (done < text.length) parts.push({ text: text.slice(done), href: null });
  return parts;
}

function hrefOf(address: string): string | null {
  try {
    const url = new URL(address);
    return url.protocol === "http:" || url.protocol === "https:" ? url.href : null;
  } catch {
    return null;
  }
}

export function LinkText({ text }: { readonly text: string }): ComponentChildren {
  return partsOf(text).map((part, index) =>
    part.href === null ? (
      part.text
    ) : (
      <a key={index} href={part.href} target="_blank" rel="noopener noreferrer nofollow">
        {part.text}
      </a>
    ),
  );
}
