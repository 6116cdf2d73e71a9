// Conversations, kept in this browser and nowhere else; bounded, the oldest go first.

/**
 * @typedef {{text: string, images: string[]}} Said
 * @typedef {{id?: string, task?: string, sequence: number, state: "running" | "done" | "stopped" | "failed",
 *   text: string, thinking: string, model?: string, node?: string, error?: string, began: number, ended?: number,
 *   tokens?: number, seen?: import("./live.js").Task}} Answer
 * @typedef {{said: Said, answer: Answer}} Turn
 * @typedef {{id: string, title: string, changed: number, model: string, system: string, temperature: number | null,
 *   turns: Turn[]}} Conversation
 */

/** Each has an entry of its own: an answer that grows does not write all others again. */
const PREFIX = "echo-conversation ";
const MOST = 40;
/** Characters of all of them; a browser gives a page about five million. */
export const ROOM = 3_500_000;

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
    const whole = JSON.stringify(conversation).length;
    const fits = whole <= left ? conversation : withoutPictures(conversation);
    const cost = fits === conversation ? whole : JSON.stringify(fits).length;
    if (cost > left) break;
    left -= cost;
    kept.push(fits);
  }
  return kept;
}

/** @param {Conversation} conversation @returns {Conversation} */
function withoutPictures(conversation) {
  return { ...conversation, turns: conversation.turns.map((turn) => ({ ...turn, said: { ...turn.said, images: [] } })) };
}

/** All that are kept, the newest first. @returns {Conversation[]} */
export function load() {
  const found = [];
  for (const key of Object.keys(localStorage).filter((name) => name.startsWith(PREFIX))) {
    try {
      const read = JSON.parse(localStorage.getItem(key) ?? "");
      if (typeof read?.id === "string" && Array.isArray(read.turns)) found.push(read);
    } catch {
      localStorage.removeItem(key);
    }
  }
  return found.sort((a, b) => b.changed - a.changed);
}

/** Writes one down; where the browser has no room for it, older ones go. @param {Conversation} conversation */
export function save(conversation) {
  if (conversation.turns.length === 0) return;
  for (const room of [ROOM, ROOM / 2, ROOM / 8, 0]) {
    try {
      localStorage.setItem(PREFIX + conversation.id, JSON.stringify(conversation));
      return;
    } catch {
      tidy(load().filter((other) => other.id !== conversation.id), room);
    }
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
    else if (one !== conversation) localStorage.setItem(PREFIX + one.id, JSON.stringify(one));
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
