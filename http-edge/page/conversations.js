// Conversations, kept in this browser and nowhere else; bounded, the oldest go first.

/**
 * @typedef {{text: string, images: string[]}} Said
 * @typedef {{id?: string, task?: string, sequence: number, state: "running" | "done" | "stopped" | "failed",
 *   text: string, thinking: string, model?: string, node?: string, error?: string, began: number, ended?: number,
 *   tokens?: number, lost?: boolean, seen?: import("./live.js").Task}} Answer
 * @typedef {{said: Said, answer: Answer}} Turn
 * @typedef {{id: string, title: string, changed: number, model: string, system: string, temperature: number | null,
 *   turns: Turn[]}} Conversation
 */

/** Each has an entry of its own: an answer that grows does not write all others again. */
const PREFIX = "echo-conversation ";
const MOST = 40;
/** Characters of all of them; a browser gives a page about five million. */
export const ROOM = 3_500_000;
/** The part of it that one may take: a chat with many pictures does not drive out all others. */
const SHARE = 0.75;

/**
 * The newest ones that fit; pictures of older ones go before their text does.
 * @param {Conversation[]} all
 * @param {number} [room]
 * @returns {Conversation[]}
 */
export function bounded(all, room = ROOM) {
  const newest = [...all].sort((a, b) => b.changed - a.changed).slice(0, MOST);
  let left = room;
  const kept = [];
  for (const conversation of newest) {
    const whole = fitting(conversation, room * SHARE);
    const fits = whole && [whole, withoutPictures(whole)].find((one) => JSON.stringify(one).length <= left);
    if (!fits) continue;
    left -= JSON.stringify(fits).length;
    kept.push(fits);
  }
  return kept;
}

/**
 * As much of one as fits: its older pictures go first, then its older turns. Undefined where not even the last turn does.
 * @param {Conversation} conversation
 * @param {number} room
 * @returns {Conversation | undefined}
 */
export function fitting(conversation, room) {
  let over = JSON.stringify(conversation).length - room;
  if (over <= 0) return conversation;
  const turns = conversation.turns.map((turn) => {
    if (over <= 0 || turn.said.images.length === 0) return turn;
    over -= JSON.stringify(turn.said.images).length - 2;
    return { ...turn, said: { ...turn.said, images: [] } };
  });
  let from = 0;
  for (; over > 0 && from < turns.length - 1; from += 1) over -= JSON.stringify(turns[from]).length + 1;
  return over > 0 ? undefined : { ...conversation, turns: turns.slice(from) };
}

/** @param {Conversation} conversation @returns {Conversation} */
function withoutPictures(conversation) {
  return { ...conversation, turns: conversation.turns.map((turn) => ({ ...turn, said: { ...turn.said, images: [] } })) };
}

/** All that are kept, the newest first. @returns {Conversation[]} */
export function load() {
  const found = [];
  for (const key of Object.keys(localStorage).filter((name) => name.startsWith(PREFIX))) {
    const one = read(localStorage.getItem(key));
    if (one) found.push(one);
    else localStorage.removeItem(key);
  }
  return found.sort((a, b) => b.changed - a.changed);
}

/** @param {string | null} text @returns {Conversation | undefined} */
function read(text) {
  try {
    const said = JSON.parse(text ?? "");
    return typeof said?.id === "string" && Array.isArray(said.turns) ? said : undefined;
  } catch {
    return undefined;
  }
}

/**
 * What another tab has written is true here, too; but an answer that runs here is this tab's to tell.
 * @param {Conversation[]} all
 * @param {{key: string | null, newValue: string | null}} change As a `storage` event tells it.
 * @param {(conversation: Conversation) => boolean} isRunning Whether this tab follows an answer of it.
 * @returns {Conversation[]}
 */
export function heard(all, change, isRunning) {
  if (!change.key?.startsWith(PREFIX)) return all;
  const id = change.key.slice(PREFIX.length);
  const own = all.find((one) => one.id === id);
  if (own && isRunning(own)) return all;
  const others = all.filter((one) => one !== own);
  const told = change.newValue === null ? undefined : read(change.newValue);
  return told ? [told, ...others].sort((a, b) => b.changed - a.changed) : others;
}

/**
 * Writes one down; where the browser has no room for it, older ones go, and older parts of it.
 * @param {Conversation} conversation
 * @returns {boolean} whether it is kept
 */
export function save(conversation) {
  if (conversation.turns.length === 0) return true;
  for (const room of [ROOM, ROOM / 2, ROOM / 8]) {
    const part = fitting(conversation, room * SHARE);
    if (!part) continue;
    if (write(part)) return true;
    tidy(load().filter((other) => other.id !== conversation.id), room * (1 - SHARE));
    if (write(part)) return true;
  }
  return false;
}

/** @param {Conversation} conversation */
function write(conversation) {
  try {
    localStorage.setItem(PREFIX + conversation.id, JSON.stringify(conversation));
    return true;
  } catch {
    return false;
  }
}

/** @param {Conversation} conversation */
export function drop(conversation) {
  localStorage.removeItem(PREFIX + conversation.id);
}

/** Lets go what is over the bound. @param {Conversation[]} all @param {number} [room] */
export function tidy(all, room = ROOM) {
  const kept = bounded(all, room);
  for (const conversation of all) {
    const one = kept.find((other) => other.id === conversation.id);
    if (!one) drop(conversation);
    else if (one !== conversation) write(one);
  }
}

/** @param {string} model @returns {Conversation} */
export function fresh(model) {
  const id = [...crypto.getRandomValues(new Uint8Array(8))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return { id, title: "", changed: Date.now(), model, system: "", temperature: null, turns: [] };
}

/** @param {string} text */
export function title(text) {
  const line = text.trim().split("\n")[0];
  return line.length > 60 ? `${line.slice(0, 59)}…` : line;
}
