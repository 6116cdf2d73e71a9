// The map: what every node is and does now.

import { h, keepOnly, keyed, mark, say } from "./dom.js";
import { remaining, tasksByNode, waiting, word } from "./facts.js";
import { newsOf } from "./news.js";
import { NodeCard } from "./node.js";
import { Pace } from "./spark.js";
import { count, rate, span } from "./text.js";
import { Travel } from "./travel.js";

/** More nodes than this are shown as one small cell each. */
const DENSE = 60;
const FEW = 4;
const SHOWN_WAITING = 40;
const SHOWN_NEWS = 6;

/** @typedef {import("./live.js").Live} Live */

export class MapView {
  /** @param {HTMLElement} root @param {Live} live */
  constructor(root, live) {
    this.root = root;
    this.live = live;
    this.title = h("h1", { id: "map-title" }, "Mesh");
    this.figures = { nodes: h("b"), answers: h("b"), rate: h("b", {}, "0"), waits: h("b") };
    this.labels = { nodes: h("span"), answers: h("span"), waits: h("span") };
    this.totals = h(
      "div",
      { class: "totals" },
      h("div", {}, this.figures.nodes, this.labels.nodes),
      h("div", {}, this.figures.answers, this.labels.answers),
      h("div", {}, this.figures.rate, h("span", {}, "tokens/s")),
      h("div", {}, this.figures.waits, this.labels.waits),
    );
    this.hubText = h("span", { class: "muted" });
    this.queue = h("span", { class: "queue", "aria-hidden": "true" });
    this.hub = h("div", { class: "hub" }, h("strong", {}, "Edge"), this.hubText, this.queue);
    this.cards = h("ul", { class: "cards", "aria-label": "Nodes" });
    this.chosen = h("ul", { class: "cards chosen", hidden: true, "aria-label": "The chosen node" });
    this.empty = h("div", { class: "empty", hidden: true }, h("h2", {}, "No node yet"), h("p", {}, "Start an agent beside an engine, and it appears here. The line for it is under ", h("a", { href: "#health" }, "Health"), "."));
    this.stage = h("div", { class: "stage" }, this.hub, this.chosen, this.cards, this.empty);
    this.news = h("ol");
    this.lately = h("section", { class: "lately", hidden: true, "aria-labelledby": "lately-title" }, h("h2", { id: "lately-title" }, "Lately"), h("div", { role: "log", "aria-label": "What has happened lately" }, this.news));
    root.append(h("div", { class: "head" }, this.title, this.totals), this.stage, this.lately);
    this.travel = new Travel(this.stage);
    /** @type {Map<string, NodeCard>} */
    this.known = new Map();
    /** @type {Map<string, HTMLLIElement>} */
    this.elements = new Map();
    /** @type {Map<string, Pace>} */
    this.paces = new Map();
    /** @type {string | undefined} */
    this.choice = undefined;
    this.dense = false;
    this.began = Date.now();
    live.addEventListener("snapshot", () => {
      // What was made while nobody looked was not made in one second.
      this.paces.forEach((pace) => pace.pause());
      this.update();
    });
    live.addEventListener("before", (event) => {
      const patch = /** @type {CustomEvent} */ (event).detail;
      this.#depart(patch);
      this.#tell(newsOf(live.mesh, patch));
    });
    live.addEventListener("change", () => this.update());
    live.addEventListener("second", () => this.#second());
    addEventListener("resize", () => this.#wires());
  }

  get visible() {
    return !this.root.hidden;
  }

  update() {
    if (!this.visible) return;
    const { nodes, tasks } = this.live.mesh;
    const ids = Object.keys(nodes).sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
    this.#totals(ids.length);
    const dense = ids.length > DENSE;
    if (dense !== this.dense) {
      this.dense = dense;
      this.known.clear();
      this.elements.clear();
      this.cards.replaceChildren();
    }
    this.stage.classList.toggle("dense", dense);
    this.stage.classList.toggle("few", ids.length <= FEW);
    this.empty.hidden = ids.length > 0 || Date.now() - this.began < 2500;
    const running = tasksByNode(tasks);
    const items = ids.map((id) => /** @type {[string, import("./live.js").MeshNode]} */ ([id, nodes[id]]));
    if (dense) {
      keyed(this.cards, this.elements, items, (_, id) => this.#cell(id), (cell, node, id) => this.#updateCell(cell, node, id));
    } else {
      keyed(this.cards, this.elements, items, (_, id) => this.#card(id), (_, node, id) => this.known.get(id)?.update(node, running.get(id) ?? [], this.live.now()));
    }
    this.#updateChosen(running);
    this.#wires();
  }

  /** @param {number} all */
  #totals(all) {
    const { nodes, tasks } = this.live.mesh;
    const up = Object.values(nodes).filter((node) => node.status !== "silent" && node.status !== "unavailable").length;
    const answers = Object.values(tasks).filter((task) => task.state === "running").length;
    const line = waiting(tasks);
    say(this.figures.nodes, up === all ? all : `${up}/${all}`);
    say(this.labels.nodes, all === 1 ? "node" : "nodes");
    say(this.figures.answers, answers);
    say(this.labels.answers, answers === 1 ? "answer now" : "answers now");
    say(this.figures.waits, line.length);
    say(this.labels.waits, "waiting");
    const wait = line[0] && remaining(line[0][1], this.live.now());
    say(this.hubText, line.length === 0 ? (answers ? `${count(answers, "answer")} under way` : "waits for requests") : `${line.length} waiting${wait === undefined ? "" : `, the first for about ${span(wait)}`}`);
    const shown = Math.min(line.length, SHOWN_WAITING);
    while (this.queue.childElementCount > shown) this.queue.lastElementChild?.remove();
    while (this.queue.childElementCount < shown) this.queue.append(h("i"));
  }

  /** @param {string} id */
  #card(id) {
    const card = new NodeCard(id);
    this.known.set(id, card);
    const pace = this.paces.get(id);
    if (pace) card.draw(pace);
    return card.element;
  }

  /** @param {string} id @returns {HTMLLIElement} */
  #cell(id) {
    const choose = () => {
      this.choice = this.choice === id ? undefined : id;
      this.update();
    };
    return h("li", {}, h("button", { class: "cell", type: "button", onclick: choose }, h("i", { class: "dot", "aria-hidden": "true" }), h("span", {}, id)));
  }

  /** @param {HTMLLIElement} item @param {import("./live.js").MeshNode} node @param {string} id */
  #updateCell(item, node, id) {
    const cell = item.firstElementChild;
    if (!cell) return;
    mark(cell, "data-status", node.status);
    mark(cell, "aria-label", `${id}: ${word(node)}, ${node.active} of ${count(node.slots, "slot")}`);
    mark(cell, "aria-expanded", String(this.choice === id));
  }

  /** @param {Map<string, [string, import("./live.js").Task][]>} running */
  #updateChosen(running) {
    const id = this.dense ? this.choice : undefined;
    const node = id ? this.live.mesh.nodes[id] : undefined;
    this.chosen.hidden = !node;
    if (!id || !node) return;
    let card = this.known.get(id);
    if (!card || card.element.parentElement !== this.chosen) {
      this.known.clear();
      this.#card(id);
      card = this.known.get(id);
      if (card) this.chosen.replaceChildren(card.element);
    }
    card?.update(node, running.get(id) ?? [], this.live.now());
  }

  /** Lines to the nodes that answer; of many they would be a tangle. */
  #wires() {
    if (!this.visible) return;
    /** @type {Map<string, {element: Element, moved: boolean}>} */
    const answering = new Map();
    if (this.elements.size <= 12) {
      for (const [id, tasks] of tasksByNode(this.live.mesh.tasks)) {
        const element = this.elements.get(id);
        if (element) answering.set(id, { element, moved: tasks.some(([, task]) => task.nodes.length > 1) });
      }
    }
    this.travel.connect(this.hub, answering);
  }

  /**
   * Before a change is merged: who goes from where to where.
   * @param {{tasks?: Record<string, Partial<import("./live.js").Task> | null>}} patch
   */
  #depart(patch) {
    if (!this.visible) return;
    for (const [id, change] of Object.entries(patch.tasks ?? {})) {
      if (!change?.nodes || change.nodes.length === 0) continue;
      const to = this.elements.get(change.nodes.at(-1) ?? "");
      const had = this.live.mesh.tasks[id]?.nodes.at(-1) ?? change.nodes.at(-2);
      const from = had === undefined ? this.hub : this.elements.get(had);
      if (to && from && to !== from) this.travel.fly(from, to, had !== undefined);
    }
  }

  /** @param {import("./news.js").News[]} news */
  #tell(news) {
    // Whoever opens the page is told what is, not that it has just come about.
    const isNew = Date.now() - this.began < 2500;
    const told = news.filter((one) => !isNew || one.level !== "good").slice(-SHOWN_NEWS);
    const at = new Date().toLocaleTimeString("en-GB");
    this.news.prepend(...told.map(({ level, text }) => h("li", { "data-level": level }, h("time", {}, at), h("i", { class: "dot", "aria-hidden": "true" }), h("span", {}, text))));
    while (this.news.childElementCount > SHOWN_NEWS) this.news.lastElementChild?.remove();
    this.lately.hidden = this.news.childElementCount === 0;
  }

  #second() {
    const nodes = Object.entries(this.live.mesh.nodes);
    let all = 0;
    for (const [id, node] of nodes) {
      const pace = this.paces.get(id) ?? new Pace();
      this.paces.set(id, pace);
      pace.note(node.made, Date.now());
      all += pace.now;
      if (this.visible) this.known.get(id)?.draw(pace);
    }
    keepOnly(this.paces, this.live.mesh.nodes);
    keepOnly(this.known, this.live.mesh.nodes);
    if (!this.visible) return;
    say(this.figures.rate, rate(all));
    // What is told in words of time passes without an event.
    if (nodes.length === 0 || nodes.some(([, node]) => node.status === "silent")) this.update();
  }
}
