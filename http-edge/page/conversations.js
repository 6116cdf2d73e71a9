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

const KEY = "echo-conversations";
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

/** @returns {Conversation[]} */
export function load() {
  try {
    const read = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    return Array.isArray(read) ? read.filter((it) => typeof it?.id === "string" && Array.isArray(it.turns)) : [];
  } catch {
    return [];
  }
}

/** @param {Conversation[]} all */
export function save(all) {
  for (const room of [ROOM, ROOM / 2, ROOM / 8]) {
    try {
      localStorage.setItem(KEY, JSON.stringify(bounded(all, room)));
      return;
    } catch {
      // The browser gives less room: less is kept.
    }
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
