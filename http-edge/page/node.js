// The card of one node.

import { h, keyed, mark, say } from "./dom.js";
import { reason, word } from "./facts.js";
import { sparkline } from "./spark.js";
import { count, modelName, rate, size } from "./text.js";

/**
 * @typedef {import("./live.js").MeshNode} MeshNode
 * @typedef {import("./live.js").Task} Task
 * @typedef {import("./spark.js").Pace} Pace
 */

const MODELS = 5;
const SLOTS = 32;
const ANSWERS = 4;

/** A card that is made once and then told what is new. */
export class NodeCard {
  /** @param {string} id */
  constructor(id) {
    this.name = h("h2", { title: id }, id);
    this.word = h("span", { class: "word" });
    this.reason = h("p", { class: "reason" });
    this.rate = h("b", {}, "0");
    this.spark = sparkline();
    this.engine = h("span");
    this.slots = h("span", { class: "slots", "aria-hidden": "true" });
    this.slotText = h("span");
    this.memoryBar = h("i");
    this.memoryText = h("span");
    this.models = h("ul", { class: "chips", "aria-label": "Models" });
    this.now = h("ul", { class: "now", "aria-label": "Answers now" });
    /** @type {Map<string, HTMLLIElement>} */
    this.rows = new Map();
    this.element = h(
      "li",
      { class: "card", "data-node": id },
      h("header", {}, h("i", { class: "dot", "aria-hidden": "true" }), this.name, this.word),
      this.reason,
      h(
        "div",
        { class: "body" },
        h("div", { class: "pace" }, h("div", {}, this.rate, h("span", {}, "tokens/s")), this.spark.element),
        h("div", { class: "row" }, this.slots, this.slotText, this.engine),
        h("div", { class: "row" }, h("span", { class: "bar", "aria-hidden": "true" }, this.memoryBar), this.memoryText),
        this.models,
        this.now,
      ),
    );
  }

  /** @param {MeshNode} node @param {[string, Task][]} tasks @param {number} now */
  update(node, tasks, now) {
    mark(this.element, "data-status", node.status);
    this.element.classList.toggle("answers", tasks.length > 0);
    say(this.word, word(node));
    const why = reason(node, now);
    this.reason.hidden = !why;
    say(this.reason, why);
    this.#slots(node);
    const { total, free } = node.memory;
    this.memoryBar.style.setProperty("--part", `${total ? Math.round(100 * (1 - free / total)) : 0}%`);
    say(this.memoryText, total ? `${size(free)} of ${size(total)} free` : "memory unknown");
    const engine = `${node.engine.kind}${node.engine.version ? ` ${node.engine.version}` : ""}`;
    say(this.engine, node.site ? `${engine}, at ${node.site}` : engine);
    this.#models(node);
    this.#now(tasks);
  }

  /** @param {Pace} pace */
  draw(pace) {
    say(this.rate, rate(pace.now));
    this.spark.draw(pace);
  }

  /** @param {MeshNode} node */
  #slots(node) {
    say(this.slotText, `${node.active} of ${count(node.slots, "slot")}`);
    const shown = Math.min(node.slots, SLOTS);
    while (this.slots.childElementCount > shown) this.slots.lastElementChild?.remove();
    while (this.slots.childElementCount < shown) this.slots.append(h("i"));
    [...this.slots.children].forEach((slot, index) => slot.classList.toggle("on", index < node.active));
  }

  /** @param {MeshNode} node */
  #models(node) {
    const sorted = [...node.models].sort((a, b) => Number(b.loaded ?? false) - Number(a.loaded ?? false));
    const text = JSON.stringify(sorted.map((model) => [model.name, model.loaded, model.unavailable]));
    if (this.models.dataset.shown === text) return;
    this.models.dataset.shown = text;
    const chips = sorted.slice(0, MODELS).map((model) => {
      const kind = model.unavailable ? "chip closed" : model.loaded ? "chip loaded" : "chip";
      const title = model.unavailable || (model.loaded ? `${model.name}, in memory` : `${model.name}, not in memory`);
      return h("li", { class: kind, title }, modelName(model.name), h("span", { class: "visually-hidden" }, model.loaded ? " in memory" : ""));
    });
    const more = sorted.length - chips.length;
    this.models.replaceChildren(...chips, ...(more > 0 ? [h("li", { class: "chip", title: sorted.slice(MODELS).map((model) => model.name).join(", ") }, `+${more}`)] : []));
    this.models.hidden = sorted.length === 0;
  }

  /** @param {[string, Task][]} tasks */
  #now(tasks) {
    keyed(
      this.now,
      this.rows,
      tasks.slice(0, ANSWERS),
      () => h("li", {}, h("i", { class: "pulse", "aria-hidden": "true" }), h("span", { class: "name" }), h("span", { class: "moved-tag" }), h("span", { class: "count" })),
      (row, task) => {
        const [, name, moved, tokens] = row.children;
        say(name, modelName(task.model));
        const from = task.nodes.at(-2);
        /** @type {HTMLElement} */ (moved).hidden = !from;
        say(moved, from ? `from ${from}` : "");
        say(tokens, task.prompt && task.tokens === 0 ? "reads the prompt" : count(task.tokens, "token"));
      },
    );
  }
}
