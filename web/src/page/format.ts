/** Times and days as people read them, and short forms of messages for the list. */

import type { Entry } from "../sdk";
import type { Texts } from "./texts";

const formats = new Map<string, Intl.DateTimeFormat>();

function formatted(ms: number, texts: Texts, options: Intl.DateTimeFormatOptions): string {
  const key = texts.locale + JSON.stringify(options);
  let format = formats.get(key);
  if (format === undefined) {
    format = new Intl.DateTimeFormat(texts.locale === "zh" ? "zh-CN" : undefined, options);
    formats.set(key, format);
  }
  return format.format(ms);
}

/** Number of the local day, for comparing. */
export function dayOf(ms: number): number {
  const date = new Date(ms);
  return date.getFullYear() * 10_000 + date.getMonth() * 100 + date.getDate();
}

export function timeText(ms: number, texts: Texts): string {
  return formatted(ms, texts, { hour: "2-digit", minute: "2-digit", hour12: false });
}

/** "Today", "Yesterday", a weekday with date, or a full date. */
export function dayText(ms: number, nowMs: number, texts: Texts): string {
  const day = dayOf(ms);
  if (day === dayOf(nowMs)) return texts.today;
  if (day === dayOf(nowMs - 86_400_000)) return texts.yesterday;
  const sameYear = new Date(ms).getFullYear() === new Date(nowMs).getFullYear();
  const options: Intl.DateTimeFormatOptions = { weekday: "short", day: "numeric", month: "long" };
  return formatted(ms, texts, sameYear ? options : { ...options, year: "numeric" });
}

/** Time for today, otherwise the day; for the list. */
export function shortTimeText(ms: number, nowMs: number, texts: Texts): string {
  if (dayOf(ms) === dayOf(nowMs)) return timeText(ms, texts);
  if (dayOf(ms) === dayOf(nowMs - 86_400_000)) return texts.yesterday;
  return formatted(ms, texts, { day: "numeric", month: "numeric" });
}

export function nameOf(entry: Entry, texts: Texts): string {
  return entry.senderName || entry.senderId || texts.someone;
}

/** A message that is shown as a line in the middle: its text; null: it is a bubble. */
export function noticeText(entry: Entry, texts: Texts): string | null {
  if (entry.content.kind === "recall") return entry.mine ? texts.youRecalled : texts.recalledBy(nameOf(entry, texts));
  if (entry.content.kind === "system") return texts.system[entry.content.event] ?? (entry.content.text || entry.content.event);
  return null;
}

/** One line for the list. */
export function previewText(entry: Entry, texts: Texts): string {
  const notice = noticeText(entry, texts);
  if (notice !== null) return notice;
  const name = entry.mine ? texts.you : nameOf(entry, texts);
  return `${name}${texts.locale === "zh" ? "：" : ": "}${contentText(entry, texts)}`;
}

function contentText(entry: Entry, texts: Texts): string {
  if (entry.recalledBySeq !== 0) return texts.recalled;
  const { content } = entry;
  if (content.kind === "text") return content.text.slice(0, 200);
  return content.kind === "image" ? content.alt || texts.picture : texts.unknownContent;
}

/** The badge: nothing for 0, then 1 to 99, then 99+. */
export function badgeText(unread: { readonly count: number; readonly capped: boolean } | null): string {
  if (unread === null || (unread.count === 0 && !unread.capped)) return "";
  return unread.capped || unread.count > 99 ? "99+" : String(unread.count);
}
