/** Every word that the page shows, in English and Chinese; the compiler sees to it that neither lacks one. */

import { ErrorCode, type Refusal } from "../sdk";

type Coded = Exclude<keyof typeof ErrorCode, "UNSPECIFIED">;

export interface Texts {
  readonly locale: "en" | "zh";
  readonly errors: Readonly<Record<Coded, string>>;
  readonly retryIn: (seconds: number) => string;
  readonly tagline: string;
  readonly yourName: string;
  readonly namePlaceholder: string;
  readonly enter: string;
  readonly entering: string;
  readonly loginFailed: string;
  readonly serverAway: string;
  readonly tokenNeeded: string;
  readonly tokenLabel: string;
  readonly signedOut: string;
  readonly devHint: string;
  readonly chats: string;
  readonly signOut: string;
  readonly joinGroup: string;
  readonly groupIdLabel: string;
  readonly join: string;
  readonly cancel: string;
  readonly noGroups: string;
  readonly noGroupsHint: string;
  readonly loading: string;
  readonly pickGroup: string;
  readonly pickGroupHint: string;
  readonly noMessages: string;
  readonly noMessagesHint: string;
  readonly removedFromGroup: string;
  readonly members: (count: number) => string;
  readonly online: (count: number) => string;
  readonly unread: (count: string) => string;
  readonly back: string;
  readonly announcement: string;
  readonly showAll: string;
  readonly showLess: string;
  readonly messagesOf: (group: string) => string;
  readonly message: string;
  readonly send: string;
  readonly charactersLeft: (count: number) => string;
  readonly slowMode: (seconds: number) => string;
  readonly slowModeWait: (seconds: number) => string;
  readonly reasons: Readonly<Record<NonNullable<Refusal["reason"]>, string>>;
  readonly queueFull: string;
  readonly newMessages: (count: number) => string;
  readonly toNewest: string;
  readonly unreadFromHere: string;
  readonly loadOlder: string;
  readonly loadingOlder: string;
  readonly beginning: string;
  readonly today: string;
  readonly yesterday: string;
  readonly you: string;
  readonly someone: string;
  readonly sending: string;
  readonly sent: string;
  readonly failed: string;
  readonly retry: string;
  readonly remove: string;
  readonly recall: string;
  readonly deleteForMe: string;
  readonly copy: string;
  readonly copied: string;
  readonly actions: string;
  readonly recalled: string;
  readonly youRecalled: string;
  readonly recalledBy: (name: string) => string;
  readonly picture: string;
  readonly unknownContent: string;
  readonly system: Readonly<Record<string, string>>;
  readonly connecting: string;
  readonly reconnecting: string;
  readonly offline: string;
  readonly tryNow: string;
  readonly connect: string;
  readonly stopped: string;
  readonly tooManyConnections: string;
}

const english: Texts = {
  locale: "en",
  errors: {
    INVALID_ARGUMENT: "Something in this request is not valid.",
    MALFORMED_FRAME: "The page and the server do not understand each other. Please reload.",
    UNAUTHENTICATED: "Your sign-in is not valid any more.",
    PERMISSION_DENIED: "You may not do this.",
    NOT_A_MEMBER: "You are not a member of this group.",
    GROUP_NOT_FOUND: "There is no such group.",
    GROUP_EXISTS: "This group exists already.",
    MUTED: "You may not speak in this group at the moment.",
    TOO_LARGE: "This message is too long.",
    EMPTY_MESSAGE: "There is nothing in this message.",
    BLOCKED_CONTENT: "This message cannot be sent because of what it says.",
    RATE_LIMITED: "You are sending too fast.",
    GROUP_BUSY: "So many people are talking at once that this one did not get through.",
    CLIENT_MSG_ID_REUSED: "This message could not be sent. Try again.",
    EPOCH_MISMATCH: "The history was restored. It is being loaded again.",
    MESSAGE_NOT_FOUND: "This message does not exist.",
    LIMIT_EXCEEDED: "That is more than is allowed at once.",
    UNAVAILABLE: "Could not be delivered.",
    DEADLINE_EXCEEDED: "No answer from the server.",
    INTERNAL: "Something went wrong on the server.",
    NOT_ENTERED: "The group is not open yet. Try again.",
    CONFLICT: "That is not possible right now.",
  },
  retryIn: (seconds) => `Try again in ${seconds} s.`,
  tagline: "One group. A million people. Every message in order.",
  yourName: "Your name",
  namePlaceholder: "What should people call you?",
  enter: "Start chatting",
  entering: "One moment…",
  loginFailed: "That did not work.",
  serverAway: "The server cannot be reached. Is it running?",
  tokenNeeded: "This server wants a token. Ask whoever runs it for a link, or paste one here.",
  tokenLabel: "Token",
  signedOut: "Please sign in again.",
  devHint: "Development mode: a name is enough. The same name is the same person.",
  chats: "Chats",
  signOut: "Sign out",
  joinGroup: "Join a group",
  groupIdLabel: "Group id",
  join: "Join",
  cancel: "Cancel",
  noGroups: "No groups yet",
  noGroupsHint: "Join one by its id with the plus button.",
  loading: "Loading…",
  pickGroup: "Pick a conversation",
  pickGroupHint: "Choose a group on the left to read and write.",
  noMessages: "It is quiet here",
  noMessagesHint: "Be the first to say something.",
  removedFromGroup: "You are no longer a member of this group.",
  members: (count) => `${count.toLocaleString("en")} ${count === 1 ? "member" : "members"}`,
  online: (count) => `${count.toLocaleString("en")} online`,
  unread: (count) => `${count} unread`,
  back: "Back to the list",
  announcement: "Announcement",
  showAll: "Show all",
  showLess: "Show less",
  messagesOf: (group) => `Messages in ${group}`,
  message: "Message",
  send: "Send",
  charactersLeft: (count) => (count >= 0 ? `${count} left` : `${-count} too many`),
  slowMode: (seconds) => `Slow mode: one message every ${seconds} s`,
  slowModeWait: (seconds) => `Slow mode: you can write again in ${seconds} s`,
  reasons: {
    slow_mode: "This group is in slow mode: everybody waits a while between two messages.",
    not_chosen: "So many people are talking that only some messages get through, drawn by lot. This one was not drawn.",
  },
  queueFull: "Too many messages are waiting to be sent. Please wait a moment.",
  newMessages: (count) => `${count > 99 ? "99+" : count} new ${count === 1 ? "message" : "messages"}`,
  toNewest: "To the newest",
  unreadFromHere: "New messages",
  loadOlder: "Earlier messages",
  loadingOlder: "Loading earlier messages…",
  beginning: "This is where the conversation begins.",
  today: "Today",
  yesterday: "Yesterday",
  you: "You",
  someone: "Somebody",
  sending: "Sending",
  sent: "Sent",
  failed: "Not sent",
  retry: "Retry",
  remove: "Remove",
  recall: "Recall",
  deleteForMe: "Delete for me",
  copy: "Copy text",
  copied: "Copied",
  actions: "Actions for this message",
  recalled: "Message recalled",
  youRecalled: "You recalled a message",
  recalledBy: (name) => `${name} recalled a message`,
  picture: "[Picture]",
  unknownContent: "[This page cannot show this message]",
  system: { group_created: "The group was created", member_joined: "Somebody joined" },
  connecting: "Connecting…",
  reconnecting: "Connection lost. Reconnecting…",
  offline: "You are offline. Messages go out when you are back.",
  tryNow: "Try now",
  connect: "Connect",
  stopped: "Disconnected.",
  tooManyConnections: "You have this open in too many places.",
};

const chinese: Texts = {
  locale: "zh",
  errors: {
    INVALID_ARGUMENT: "请求内容有误。",
    MALFORMED_FRAME: "页面与服务器版本不一致，请刷新页面。",
    UNAUTHENTICATED: "登录已失效。",
    PERMISSION_DENIED: "你没有权限这样做。",
    NOT_A_MEMBER: "你不是本群成员。",
    GROUP_NOT_FOUND: "该群不存在。",
    GROUP_EXISTS: "该群已存在。",
    MUTED: "你在本群暂时被禁言。",
    TOO_LARGE: "消息太长了。",
    EMPTY_MESSAGE: "消息内容为空。",
    BLOCKED_CONTENT: "消息包含不允许发送的内容。",
    RATE_LIMITED: "你发送得太快了。",
    GROUP_BUSY: "群里太热闹了，这条消息没能发出去。",
    CLIENT_MSG_ID_REUSED: "消息发送失败，请重试。",
    EPOCH_MISMATCH: "历史消息已恢复，正在重新加载。",
    MESSAGE_NOT_FOUND: "这条消息不存在。",
    LIMIT_EXCEEDED: "超出了单次允许的数量。",
    UNAVAILABLE: "消息未能送达。",
    DEADLINE_EXCEEDED: "服务器没有响应。",
    INTERNAL: "服务器出错了。",
    NOT_ENTERED: "群聊尚未打开，请重试。",
    CONFLICT: "现在无法这样做。",
  },
  retryIn: (seconds) => `请 ${seconds} 秒后重试。`,
  tagline: "一个群，百万人，每条消息井然有序。",
  yourName: "你的名字",
  namePlaceholder: "大家怎么称呼你？",
  enter: "开始聊天",
  entering: "请稍候…",
  loginFailed: "登录失败。",
  serverAway: "无法连接服务器，它在运行吗？",
  tokenNeeded: "此服务器需要令牌。请向管理员索取链接，或在此粘贴令牌。",
  tokenLabel: "令牌",
  signedOut: "请重新登录。",
  devHint: "开发模式：输入名字即可，同名即同一人。",
  chats: "聊天",
  signOut: "退出登录",
  joinGroup: "加入群聊",
  groupIdLabel: "群 ID",
  join: "加入",
  cancel: "取消",
  noGroups: "还没有群聊",
  noGroupsHint: "点击加号，输入群 ID 加入。",
  loading: "加载中…",
  pickGroup: "选择一个会话",
  pickGroupHint: "在左侧选择群聊，开始阅读和发言。",
  noMessages: "这里还很安静",
  noMessagesHint: "来说第一句话吧。",
  removedFromGroup: "你已不是本群成员。",
  members: (count) => `${count.toLocaleString("zh-CN")} 位成员`,
  online: (count) => `${count.toLocaleString("zh-CN")} 在线`,
  unread: (count) => `${count} 条未读`,
  back: "返回列表",
  announcement: "群公告",
  showAll: "展开",
  showLess: "收起",
  messagesOf: (group) => `${group} 的消息`,
  message: "输入消息",
  send: "发送",
  charactersLeft: (count) => (count >= 0 ? `还可输入 ${count} 字` : `超出 ${-count} 字`),
  slowMode: (seconds) => `慢速模式：每 ${seconds} 秒一条`,
  slowModeWait: (seconds) => `慢速模式：${seconds} 秒后可以继续发言`,
  reasons: {
    slow_mode: "本群已开启慢速模式，两条消息之间需要间隔一段时间。",
    not_chosen: "发言的人太多，只能随机放行一部分消息，这条没有被抽中。",
  },
  queueFull: "等待发送的消息太多，请稍后再试。",
  newMessages: (count) => `${count > 99 ? "99+" : count} 条新消息`,
  toNewest: "回到最新",
  unreadFromHere: "以下为新消息",
  loadOlder: "更早的消息",
  loadingOlder: "正在加载更早的消息…",
  beginning: "会话从这里开始。",
  today: "今天",
  yesterday: "昨天",
  you: "我",
  someone: "有人",
  sending: "发送中",
  sent: "已发送",
  failed: "未发送",
  retry: "重试",
  remove: "移除",
  recall: "撤回",
  deleteForMe: "仅为我删除",
  copy: "复制文字",
  copied: "已复制",
  actions: "消息操作",
  recalled: "消息已撤回",
  youRecalled: "你撤回了一条消息",
  recalledBy: (name) => `${name} 撤回了一条消息`,
  picture: "[图片]",
  unknownContent: "[此页面无法显示这条消息]",
  system: { group_created: "群聊已创建", member_joined: "有新成员加入" },
  connecting: "正在连接…",
  reconnecting: "连接已断开，正在重连…",
  offline: "网络已断开，恢复后会自动发送。",
  tryNow: "立即重试",
  connect: "连接",
  stopped: "已断开连接。",
  tooManyConnections: "你在太多地方打开了此页面。",
};

/** Chinese for zh, zh-CN, zh-Hant and so on; English for everything else. */
export function textsFor(language: string): Texts {
  return /^zh\b/i.test(language) ? chinese : english;
}

/** Why something was refused, for people. */
export function refusalWords(texts: Texts, refusal: Refusal): string {
  if (refusal.reason !== undefined) return texts.reasons[refusal.reason];
  return texts.errors[ErrorCode[refusal.code] as Coded] ?? refusal.text;
}

/** Why something was refused and when trying again makes sense. */
export function refusalText(texts: Texts, refusal: Refusal): string {
  const words = refusalWords(texts, refusal);
  if (refusal.retryAfterMs <= 0) return words;
  const joint = texts.locale === "zh" ? "" : " ";
  return words + joint + texts.retryIn(Math.ceil(refusal.retryAfterMs / 1000));
}
