// The tasks: what runs, what waits, what has ended. Nothing of what was asked, and nothing of the answers.

import { h, keepOnly, keyed, mark, say } from "./dom.js";
import { firstToken, group, listed, positions, remaining, speed } from "./facts.js";
import { ask } from "./key.js";
import { count, modelName, rate, span } from "./text.js";
import { whyBox } from "./why.js";

/**
 * @typedef {import("./live.js").Live} Live
 * @typedef {import("./live.js").Task} Task
 */

const MOST = 250;
const COLUMNS = ["Task", "State", "Model", "Node", "Tokens", "Tokens/s", "First token", "Time", ""];

/** @type {Record<Task["state"], string>} */
const STATES = { running: "Running", moving: "Moving on", waiting: "Waiting", done: "Done", failed: "Failed", cancelled: "Cancelled" };

export class TasksView {
  /** @param {HTMLElement} root @param {Live} live */
  constructor(root, live) {
    this.root = root;
    this.live = live;
    /** @type {Map<string, HTMLTableRowElement>} */
    this.rows = new Map();
    /** @type {Set<string>} */
    this.open = new Set();
    /** When the tokens of an answer were seen first. @type {Map<string, {tokens: number, at: number}>} */
    this.first = new Map();
    this.state = choice("State", ["", "running", "waiting", "ended"], ["All states", "Running", "Waiting", "Ended"], () => this.update());
    this.node = choice("Node", [""], ["All nodes"], () => this.update());
    this.model = choice("Model", [""], ["All models"], () => this.update());
    this.body = h("tbody");
    this.said = h("p", { class: "muted", role: "status" });
    this.empty = h("div", { class: "empty" }, h("h2", {}, "No tasks to show"), h("p", {}, "Ask something under ", h("a", { href: "#chat" }, "Chat"), ", or point a client at this address. Prompts and answers are never shown here."));
    this.table = h(
      "div",
      { class: "panel" },
      h("div", { class: "scroll" }, h("table", { class: "stack" }, h("thead", {}, h("tr", {}, ...COLUMNS.map((name, index) => h("th", { scope: "col", class: index >= 4 && index <= 7 ? "n" : "" }, name || h("span", { class: "visually-hidden" }, "Cancel"))))), this.body)),
    );
    root.append(
      h("div", { class: "head" }, h("h1", { id: "tasks-title" }, "Tasks"), h("div", { class: "row" }, this.state.element, this.node.element, this.model.element)),
      this.said,
      this.table,
      this.empty,
    );
    for (const kind of ["snapshot", "change", "second"]) live.addEventListener(kind, () => this.update());
  }

  update() {
    const { nodes, tasks } = this.live.mesh;
    // Also while nobody looks: tasks come and go all day.
    keepOnly(this.first, tasks);
    keepOnly(this.open, tasks);
    if (this.root.hidden) return;
    this.node.offer(Object.keys(nodes).sort());
    this.model.offer([...new Set(Object.values(tasks).flatMap((task) => task.model ?? []))].sort());
    const wanted = { state: this.state.value(), node: this.node.value(), model: this.model.value() };
    const list = listed(tasks, wanted).slice(0, MOST);
    this.table.hidden = list.length === 0;
    this.empty.hidden = list.length > 0;
    const places = positions(tasks);
    /** @type {[string, {id: string, task: Task, why: boolean}][]} */
    const items = list.flatMap(([id, task]) => {
      const row = /** @type {[string, {id: string, task: Task, why: boolean}]} */ ([id, { id, task, why: false }]);
      return this.open.has(id) ? [row, [`${id} why`, { id, task, why: true }]] : [row];
    });
    keyed(
      this.body,
      this.rows,
      items,
      ({ id, why }) => (why ? h("tr", {}, h("td", { class: "why", colspan: COLUMNS.length })) : this.#row(id)),
      (row, { id, task, why }) => (why ? this.#updateWhy(row, task) : this.#updateRow(row, id, task, places.get(id))),
    );
  }

  /** @param {string} id */
  #row(id) {
    const toggle = () => {
      if (!this.open.delete(id)) this.open.add(id);
      this.update();
    };
    const click = (/** @type {Event} */ event) => {
      if (event.target instanceof Element && !event.target.closest("button")) toggle();
    };
    const cell = (/** @type {string} */ name, /** @type {string} */ kind = "") => h("td", { "data-name": name || false, class: kind });
    return h(
      "tr",
      { class: "task", onclick: click },
      h("td", {}, h("button", { class: "more", type: "button", onclick: toggle, "aria-label": `Why, of task ${id.slice(0, 8)}` }, id.slice(0, 8))),
      h("td", {}, h("span", { class: "state" }, h("i", { "aria-hidden": "true" }), h("span"))),
      cell(""),
      h("td", { class: "path" }),
      cell("tokens", "n"),
      cell("tokens/s", "n"),
      cell("first token", "n"),
      cell("time", "n"),
      h("td", { class: "n" }, h("button", { class: "btn small", type: "button", onclick: (/** @type {Event} */ event) => this.#cancel(id, /** @type {HTMLButtonElement} */ (event.currentTarget)), "aria-label": `Cancel task ${id.slice(0, 8)}` }, "Cancel")),
    );
  }

  /** @param {HTMLTableRowElement} row @param {string} id @param {Task} task @param {number | undefined} place */
  #updateRow(row, id, task, place) {
    const [more, state, model, path, tokens, speedCell, first, time, cancel] = row.cells;
    mark(/** @type {Element} */ (more.firstElementChild), "aria-expanded", String(this.open.has(id)));
    const badge = /** @type {Element} */ (state.firstElementChild);
    mark(badge, "data-is", task.state);
    const left = remaining(task, this.live.now());
    const wait = left === undefined ? "" : `, about ${span(left)}`;
    say(/** @type {Element} */ (badge.lastElementChild), place === undefined ? STATES[task.state] : `Waiting, place ${place}${wait}`);
    say(model, modelName(task.model) || "–");
    const text = task.nodes.join(" → ") || "–";
    if (path.textContent !== text) {
      path.replaceChildren(...task.nodes.flatMap((node, index) => (index < task.nodes.length - 1 ? [h("span", { class: "gone" }, node), " → "] : [node])), task.nodes.length ? "" : "–");
    }
    mark(path, "title", task.attempt > 1 ? count(task.attempt, "attempt") : null);
    say(tokens, task.tokens || "–");
    say(speedCell, this.#speed(id, task));
    const token = firstToken(task);
    say(first, token === undefined ? "–" : span(token));
    say(time, span(task.latency_ms ?? (task.ended ?? this.live.now()) - task.began));
    /** @type {HTMLElement} */ (cancel.firstElementChild).hidden = group(task) === "ended";
  }

  /** As it was measured; of an answer on its way since it is seen here. @param {string} id @param {Task} task */
  #speed(id, task) {
    const measured = speed(task);
    if (measured !== undefined) return rate(measured);
    if (task.state !== "running" || task.tokens === 0) {
      this.first.delete(id);
      return "–";
    }
    const first = this.first.get(id) ?? { tokens: task.tokens, at: Date.now() };
    this.first.set(id, first);
    const seconds = (Date.now() - first.at) / 1000;
    return seconds > 1 ? `≈ ${rate((task.tokens - first.tokens) / seconds)}` : "–";
  }

  /** @param {HTMLTableRowElement} row @param {Task} task */
  #updateWhy(row, task) {
    const text = JSON.stringify([task.why, task.nodes, task.client, task.detail, task.state]);
    if (row.dataset.shown === text) return;
    row.dataset.shown = text;
    row.cells[0].replaceChildren(whyBox(task));
  }

  /** @param {string} id @param {HTMLButtonElement} button */
  async #cancel(id, button) {
    button.disabled = true;
    const response = await ask(`/mesh/tasks/${encodeURIComponent(id)}`, { method: "DELETE" }).catch(() => undefined);
    button.disabled = false;
    if (response?.ok) return say(this.said, `Task ${id.slice(0, 8)} is cancelled`);
    const why = await response?.json().catch(() => undefined);
    say(this.said, `Task ${id.slice(0, 8)} could not be cancelled: ${why?.error ?? "the edge does not answer"}`);
  }
}

/**
 * A labelled select whose options come and go.
 * @param {string} label
 * @param {string[]} values
 * @param {string[]} names
 * @param {() => void} changed
 */
function choice(label, values, names, changed) {
  const select = h("select", { "aria-label": label, onchange: changed }, ...values.map((value, index) => h("option", { value }, names[index])));
  let offered = "";
  return {
    element: select,
    value: () => select.value,
    /** @param {string[]} more */
    offer(more) {
      if (more.join("\n") === offered) return;
      offered = more.join("\n");
      const chosen = select.value;
      while (select.options.length > 1) select.lastElementChild?.remove();
      select.append(...more.map((value) => h("option", { value }, value)));
      select.value = more.includes(chosen) ? chosen : "";
    },
  };
}
