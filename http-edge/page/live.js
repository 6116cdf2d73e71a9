// The mesh as the edge tells it: one stream, a new one by itself when that breaks, and the truth about how old it is.

import { ask, waits } from "./key.js";
import { merge } from "./merge.js";
import { eventsOf } from "./sse.js";

/**
 * @typedef {{wait?: number, load?: number, prompt?: number, answer?: number, whole?: number}} Times
 * @typedef {{node: string, expected_ms?: Times, measured_ms?: Times,
 *   instead_of?: {node: string, expected_ms?: number, because?: string}[]}} Why
 * @typedef {{name: string, loaded?: boolean, size?: number, can: string[], tokens_per_second?: number,
 *   unavailable?: string}} Model
 * @typedef {{status: "idle" | "busy" | "draining" | "unavailable" | "silent", reason?: string, paused?: string, active: number,
 *   slots: number, made: number, models: Model[], engine: {kind: string, version?: string},
 *   memory: {total: number, free: number}, disk: {total: number, free: number}, host: string, port: number,
 *   version: string, site?: string, since: number, heard?: number}} MeshNode
 * @typedef {{state: "waiting" | "running" | "moving" | "done" | "failed" | "cancelled", client?: string, model?: string, node?: string,
 *   nodes: string[], attempt: number, began: number, ended?: number, queued?: number, position?: number, expected_wait_ms?: number,
 *   tokens: number, prompt?: boolean, latency_ms?: number, detail?: string, why?: Why}} Task
 * @typedef {{connected?: boolean, orchestrator?: string, default_model?: string}} About
 * @typedef {{mesh: About, nodes: Record<string, MeshNode>, tasks: Record<string, Task>}} Mesh
 * @typedef {"connecting" | "live" | "old"} Freshness
 */

/** A break that is shorter than this is nobody's concern. */
const BRIEF = 1500;
/** The edge gives a sign of life every ten seconds. */
const SIGN = 10_000;
const LATE = SIGN + 5_000;
/** A page that nobody sees for so long gives its stream back: a browser opens six to one edge, whatever the tabs. */
const UNSEEN = 30_000;
const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 10_000;

export class Live extends EventTarget {
  /** @type {Mesh} */
  mesh = { mesh: {}, nodes: {}, tasks: {} };
  /** @type {Freshness} */
  freshness = "connecting";
  /** When something was heard last, by this machine's clock. */
  heard = 0;
  /** What the edge's clock is ahead of this machine's. */
  #ahead = 0;
  /** Why the edge does not let this user watch. @type {string | undefined} */
  refused;
  #pause = FIRST_PAUSE;
  /** Since when there is no stream. @type {number | undefined} */
  #broken;
  #opened = 0;
  /** Since when nobody sees the page. @type {number | undefined} */
  #unseen;
  #parked = false;
  /** Ends the stream. @type {AbortController | undefined} */
  #source;

  /** The time by the edge's clock, as all times that it tells. */
  now() {
    return Date.now() + this.#ahead;
  }

  begin() {
    this.#open();
    setInterval(() => this.#look(), 1000);
    // A page that was asleep asks at once.
    document.addEventListener("visibilitychange", () => this.#look());
  }

  #open() {
    this.#source?.abort();
    const source = new AbortController();
    this.#source = source;
    this.#opened = Date.now();
    this.#follow(source)
      .catch(() => undefined)
      .then(() => this.#ended(source));
  }

  /** Not an EventSource, which cannot send a key. @param {AbortController} source */
  async #follow(source) {
    const response = await ask("/mesh/watch", { headers: { accept: "text/event-stream" }, cache: "no-store", signal: source.signal });
    // The user may have looked for a key meanwhile.
    this.#opened = Date.now();
    if (response.status === 403) this.refused = (await response.json().catch(() => undefined))?.error;
    if (!response.ok) return;
    for await (const event of eventsOf(response, () => undefined)) {
      if (this.#source !== source) return;
      this.#take(event);
    }
  }

  /** @param {import("./sse.js").ServerEvent} event */
  #take(event) {
    const data = JSON.parse(event.data);
    if (event.event === "snapshot") {
      const { at, ...mesh } = data;
      this.#ahead = at - Date.now();
      this.mesh = mesh;
      this.#pause = FIRST_PAUSE;
      this.#hear("snapshot", this.mesh);
    } else if (event.event === "change") {
      this.dispatchEvent(new CustomEvent("before", { detail: data }));
      this.mesh = merge(this.mesh, data);
      this.#hear("change", data);
    } else if (event.event === "alive") {
      this.#hear("alive", {});
    }
  }

  /** @param {AbortController} source */
  #ended(source) {
    if (this.#source !== source) return;
    this.#source = undefined;
    this.#broken ??= Date.now();
    setTimeout(() => this.#parked || this.#open(), this.#pause * (0.75 + Math.random() / 2));
    this.#pause = Math.min(this.#pause * 2, LONGEST_PAUSE);
  }

  /** @param {string} kind @param {unknown} detail */
  #hear(kind, detail) {
    this.heard = Date.now();
    this.#broken = undefined;
    this.#tell("live");
    if (kind !== "alive") this.dispatchEvent(new CustomEvent(kind, { detail }));
  }

  #look() {
    this.#unseen = document.hidden ? (this.#unseen ?? Date.now()) : undefined;
    if (this.#unseen !== undefined && Date.now() - this.#unseen > UNSEEN) return this.#park();
    if (this.#parked && this.#unseen === undefined) {
      this.#parked = false;
      this.#open();
    }
    if (this.#parked) return;
    if (this.freshness === "live" && this.#broken !== undefined && Date.now() - this.#broken > BRIEF) this.#tell("old");
    // A stream may be open and lead nowhere.
    if (this.#source && !waits() && Date.now() - Math.max(this.heard, this.#opened) > LATE) {
      if (this.heard) this.#tell("old");
      this.#open();
    }
    this.dispatchEvent(new Event("second"));
  }

  #park() {
    if (this.#parked) return;
    this.#parked = true;
    this.#source?.abort();
    this.#source = undefined;
    this.#broken = undefined;
    this.#tell("connecting");
  }

  /** @param {Freshness} freshness */
  #tell(freshness) {
    if (this.freshness === freshness) return;
    this.freshness = freshness;
    this.dispatchEvent(new Event("freshness"));
  }
}
