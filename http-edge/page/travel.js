// Tasks on their way: a point that flies from the edge to a node, or from one node to the next, and a line to each node
// that answers.

import { h, mark, svg } from "./dom.js";

const calm = matchMedia("(prefers-reduced-motion: reduce)");
const MOST_FLYERS = 24;

/** @typedef {{x: number, y: number}} Place */

export class Travel {
  /** @param {HTMLElement} stage What everything stands in. */
  constructor(stage) {
    this.stage = stage;
    this.layer = svg("svg", { class: "wires", "aria-hidden": "true" });
    stage.prepend(this.layer);
    this.flying = 0;
    /** @type {Map<string, SVGPathElement>} */
    this.wires = new Map();
  }

  /** @param {Element} element @param {boolean} top @returns {Place} */
  #place(element, top) {
    const stage = this.stage.getBoundingClientRect();
    const box = element.getBoundingClientRect();
    return { x: box.left - stage.left + box.width / 2, y: (top ? box.top : box.bottom) - stage.top };
  }

  /**
   * Shows where answers come from now.
   * @param {Element} hub
   * @param {Map<string, {element: Element, moved: boolean}>} answering
   */
  connect(hub, answering) {
    for (const [id, path] of this.wires) {
      if (!answering.has(id)) {
        path.remove();
        this.wires.delete(id);
      }
    }
    if (answering.size === 0) return;
    const from = this.#place(hub, false);
    for (const [id, { element, moved }] of answering) {
      let path = this.wires.get(id);
      if (!path) {
        path = svg("path");
        this.wires.set(id, path);
        this.layer.append(path);
      }
      mark(path, "d", curve(from, this.#place(element, true)));
      mark(path, "class", moved ? "moved" : null);
    }
  }

  /**
   * @param {Element} from
   * @param {Element} to
   * @param {boolean} moved From one node to another.
   */
  fly(from, to, moved) {
    if (calm.matches || document.hidden || this.flying >= MOST_FLYERS) return;
    const start = this.#place(from, moved);
    const end = this.#place(to, true);
    const flyer = h("i", { class: moved ? "flyer moved" : "flyer", "aria-hidden": "true" });
    this.stage.append(flyer);
    this.flying += 1;
    const lift = moved ? Math.min(start.y, end.y) - 46 : (start.y + end.y) / 2;
    const frames = [];
    for (let step = 0; step <= 12; step += 1) {
      const t = step / 12;
      const point = moved ? bend(start, { x: (start.x + end.x) / 2, y: lift }, end, t) : along(start, end, t);
      frames.push({ transform: `translate(${point.x}px, ${point.y}px)`, opacity: step === 12 ? 0.2 : 1 });
    }
    const flight = flyer.animate(frames, { duration: moved ? 1100 : 650, easing: "cubic-bezier(.45,.05,.35,1)" });
    const land = () => {
      flyer.remove();
      this.flying -= 1;
    };
    flight.finished.then(land, land);
  }
}

/** @param {Place} from @param {Place} to */
function curve(from, to) {
  const middle = (from.y + to.y) / 2;
  return `M${round(from.x)},${round(from.y)}C${round(from.x)},${round(middle)} ${round(to.x)},${round(middle)} ${round(to.x)},${round(to.y)}`;
}

/** A point of that curve. @param {Place} from @param {Place} to @param {number} t @returns {Place} */
function along(from, to, t) {
  const middle = (from.y + to.y) / 2;
  const u = 1 - t;
  const mix = (/** @type {number[]} */ [a, b, c, d]) => u ** 3 * a + 3 * u * u * t * b + 3 * u * t * t * c + t ** 3 * d;
  return { x: mix([from.x, from.x, to.x, to.x]), y: mix([from.y, middle, middle, to.y]) };
}

/** @param {Place} a @param {Place} b @param {Place} c @param {number} t @returns {Place} */
function bend(a, b, c, t) {
  const u = 1 - t;
  return { x: u * u * a.x + 2 * u * t * b.x + t * t * c.x, y: u * u * a.y + 2 * u * t * b.y + t * t * c.y };
}

/** @param {number} value */
const round = (value) => Math.round(value * 10) / 10;
