// Tokens a second over the last minute: measured from what nodes have made, and drawn.

import { svg } from "./dom.js";

const SECONDS = 60;
/** Heartbeats come once a second, not on the second: a rate is of the last few. */
const WINDOW = 3;

/** The past of one count that only grows. */
export class Pace {
  /** @type {number[]} One for each second; the newest last. */
  rates = [];
  /** @type {{count: number, at: number}[]} */
  #counts = [];

  /** What the count is now; called about once a second. @param {number} count @param {number} now In milliseconds. */
  note(count, now) {
    const last = this.#counts.at(-1);
    // A smaller one is another edge's: the past says nothing of it.
    if (last !== undefined && count < last.count) this.#counts = [];
    this.#counts.push({ count, at: now });
    if (this.#counts.length > WINDOW + 1) this.#counts.shift();
    const first = this.#counts[0];
    // A browser slows the clock of a page in the background.
    this.rates.push(now > first.at ? ((count - first.count) * 1000) / (now - first.at) : 0);
    if (this.rates.length > SECONDS) this.rates.shift();
  }

  /** Nobody has looked for a while: the next count is a beginning. */
  pause() {
    this.#counts = [];
  }

  get now() {
    return this.rates.at(-1) ?? 0;
  }
}

/**
 * The two paths of a sparkline, in a box of 60 by 20.
 * @param {number[]} rates
 * @param {number} top The greatest rate that fits.
 */
export function paths(rates, top) {
  const scale = 19 / Math.max(top, 1);
  const points = rates.map((rate, index) => `${SECONDS - rates.length + index},${(19.5 - rate * scale).toFixed(2)}`);
  if (points.length === 0) return { line: "", area: "" };
  const line = `M${points.join("L")}`;
  return { line, area: `${line}L${SECONDS - 1},20L${SECONDS - rates.length},20Z` };
}

/** @returns {{element: SVGSVGElement, draw: (pace: Pace) => void}} */
export function sparkline() {
  const area = svg("path", { class: "area" });
  const line = svg("path", { class: "line" });
  const base = svg("path", { class: "base", d: "M0,19.5H59" });
  const element = svg("svg", { class: "spark", viewBox: "0 0 59 20", preserveAspectRatio: "none", "aria-hidden": "true" }, base, area, line);
  return {
    element,
    draw(pace) {
      // A little room above, so that a steady pace does not look like a limit.
      const found = paths(pace.rates, Math.max(...pace.rates, 1) * 1.15);
      line.setAttribute("d", found.line);
      area.setAttribute("d", found.area);
    },
  };
}
