/** The user's groups with unread counts and previews: from `list_groups`, kept fresh by the groups that are entered. */

import type { GroupView } from "./group_view";
import type { Entry } from "./message_queue";
import { Store } from "./store";
import type { GroupEntry, GroupInfo, Unread } from "./types";

export interface GroupRow {
  readonly groupId: string;
  readonly info: GroupInfo | null;
  /** null: could not be had. */
  readonly unread: Unread | null;
  /** Newest shown message, when the group is entered. */
  readonly last: Entry | null;
}

export interface GroupListView {
  /** False until the first answer. */
  readonly loaded: boolean;
  readonly rows: readonly GroupRow[];
}

export class GroupList {
  readonly view = new Store<GroupListView>({ loaded: false, rows: [] });
  private readonly rows = new Map<string, GroupRow>();
  private loaded = false;

  /** Takes an answer to `list_groups`; `live` tells whose counts this client keeps itself. */
  onGroups(entries: readonly GroupEntry[], live: (groupId: string) => boolean): void {
    const known = new Set(entries.map((entry) => entry.group.groupId));
    for (const groupId of this.rows.keys()) if (!known.has(groupId) && !live(groupId)) this.rows.delete(groupId);
    for (const { group, unread } of entries) {
      const before = this.rows.get(group.groupId);
      const keep = before !== undefined && live(group.groupId);
      this.rows.set(group.groupId, {
        groupId: group.groupId,
        info: group,
        unread: keep ? before.unread : (unread ?? before?.unread ?? null),
        last: before?.last ?? null,
      });
    }
    this.loaded = true;
    this.publish();
  }

  onCount(groupId: string, unread: Unread): void {
    const row = this.rows.get(groupId);
    if (row === undefined) return;
    this.rows.set(groupId, { ...row, unread });
    this.publish();
  }

  /** Takes over what an entered group shows. */
  onView(view: GroupView): void {
    if (view.phase === "removed" || view.phase === "refused") {
      if (this.rows.delete(view.groupId)) this.publish();
      return;
    }
    if (view.info === null) return;
    const before = this.rows.get(view.groupId);
    const last = newest(view.entries);
    const same = before !== undefined && before.info === view.info && before.last === last;
    if (same && before.unread?.count === view.unread.count && before.unread.capped === view.unread.capped) return;
    this.rows.set(view.groupId, { groupId: view.groupId, info: view.info, unread: view.unread, last });
    this.publish();
  }

  private publish(): void {
    const rows = [...this.rows.values()].sort(byActivity);
    this.view.set({ loaded: this.loaded, rows });
  }
}

function newest(entries: readonly Entry[]): Entry | null {
  return entries.at(-1) ?? null;
}

function byActivity(left: GroupRow, right: GroupRow): number {
  const byTime = (right.last?.sentAtMs ?? 0) - (left.last?.sentAtMs ?? 0);
  return byTime !== 0 ? byTime : left.groupId < right.groupId ? -1 : left.groupId > right.groupId ? 1 : 0;
}
