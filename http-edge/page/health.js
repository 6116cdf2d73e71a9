// Health: what is wrong, in words; the nodes with their versions; drain and resume; and the line for the next machine.

import { h, keyed, mark, say, svg } from "./dom.js";
import { troubles, word } from "./facts.js";
import { ask } from "./key.js";
import { qr } from "./qr.js";
import { modelName, size, span } from "./text.js";

/**
 * @typedef {import("./live.js").Live} Live
 * @typedef {import("./live.js").MeshNode} MeshNode
 */

const LINE = "echo-mesh join";

export class HealthView {
  /** @param {HTMLElement} root @param {Live} live @param {HTMLElement} badge */
  constructor(root, live, badge) {
    this.root = root;
    this.live = live;
    this.badge = badge;
    /** @type {Map<string, HTMLLIElement>} */
    this.notes = new Map();
    /** @type {Map<string, HTMLTableRowElement>} */
    this.rows = new Map();
    this.list = h("ul");
    this.body = h("tbody");
    this.about = h("p", { class: "muted" });
    this.said = h("p", { class: "muted", role: "status" });
    const names = ["Node", "State", "Agent", "Engine", "Models in memory", "Up for", "Memory free", ""];
    root.append(
      h("div", { class: "head" }, h("h1", { id: "health-title" }, "Health"), this.about),
      h("section", { class: "panel", "aria-label": "What is wrong" }, this.list),
      h(
        "section",
        { class: "panel", "aria-label": "Nodes" },
        h("div", { class: "title" }, h("h2", {}, "Nodes"), this.said),
        h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Table of nodes" }, h("table", { class: "stack" }, h("thead", {}, h("tr", {}, ...names.map((name) => h("th", { scope: "col" }, name || h("span", { class: "visually-hidden" }, "Actions"))))), this.body)),
      ),
      nextMachine(),
    );
    for (const kind of ["snapshot", "change", "second"]) live.addEventListener(kind, () => this.update());
  }

  update() {
    const { mesh } = this.live;
    const found = this.live.heard ? troubles(mesh, this.live.now()) : [];
    this.badge.hidden = found.length === 0;
    say(this.badge, found.length);
    if (this.root.hidden) return;
    say(this.about, mesh.mesh.orchestrator ? `Orchestrator ${mesh.mesh.orchestrator}${mesh.mesh.default_model ? `, default model ${modelName(mesh.mesh.default_model)}` : ""}` : "");
    const notes = found.length > 0 ? found : [{ level: "good", text: "Everything is as it should be." }];
    keyed(
      this.list,
      this.notes,
      notes.map((note) => [`${note.level} ${"node" in note ? note.node : ""} ${note.text.replace(/\d/g, "")}`, note]),
      (note) => h("li", { class: "trouble", "data-level": note.level }, h("i", { class: "dot", "aria-hidden": "true" }), h("span", {}, "node" in note && note.node ? h("strong", {}, `${note.node} `) : null, h("span"))),
      (item, note) => say(/** @type {Element} */ (item.querySelector("span > span")), note.text),
    );
    keyed(
      this.body,
      this.rows,
      Object.entries(mesh.nodes).sort(([a], [b]) => a.localeCompare(b, "en", { numeric: true })),
      (_, id) => this.#row(id),
      (row, node) => updateRow(row, node, this.live.now()),
    );
  }

  /** @param {string} id */
  #row(id) {
    const button = h("button", { class: "btn small", type: "button", onclick: () => this.#order(id, button) }, "Drain");
    return h(
      "tr",
      {},
      h("td", {}, h("strong", {}, id)),
      h("td", {}, h("span", { class: "state" }, h("i", { class: "dot", "aria-hidden": "true" }), h("span"))),
      ...["agent", "engine", "in memory", "up for", "free"].map((name) => h("td", { "data-name": name })),
      h("td", { class: "n" }, button),
    );
  }

  /** @param {string} id @param {HTMLButtonElement} button */
  async #order(id, button) {
    const order = this.live.mesh.nodes[id]?.status === "draining" ? "resume" : "drain";
    button.disabled = true;
    const response = await ask(`/nodes/${encodeURIComponent(id)}/${order}`, { method: "POST" }).catch(() => undefined);
    const answer = await response?.json().catch(() => undefined);
    button.disabled = false;
    say(this.said, response?.ok ? `${id} ${order === "drain" ? "finishes what it has and takes nothing new" : "takes work again"}` : (answer?.error ?? "the edge does not answer"));
  }
}

/** @param {HTMLTableRowElement} row @param {MeshNode} node @param {number} now */
function updateRow(row, node, now) {
  const [name, state, version, engine, models, up, memory, action] = row.cells;
  mark(row, "data-status", node.status);
  say(/** @type {Element} */ (state.querySelector(".state > span")), word(node));
  say(version, node.version);
  say(engine, `${node.engine.kind} ${node.engine.version ?? ""}`);
  const loaded = node.models.filter((model) => model.loaded).map((model) => modelName(model.name));
  say(models, loaded.join(", ") || "none");
  say(up, node.status === "silent" ? "–" : span(now - node.since));
  say(memory, node.memory.total ? `${size(node.memory.free)} of ${size(node.memory.total)}` : "–");
  const button = /** @type {HTMLButtonElement} */ (action.firstElementChild);
  const order = node.status === "draining" ? "Resume" : "Drain";
  say(button, order);
  mark(button, "aria-label", `${order} ${name.textContent}`);
  button.hidden = node.status === "silent";
}

function nextMachine() {
  const copy = h("button", { class: "btn small", type: "button" }, "Copy");
  copy.addEventListener("click", async () => {
    // Only a page that came by HTTPS or from this machine may write to the clipboard.
    const done = await navigator.clipboard?.writeText(LINE).then(() => true, () => false);
    say(copy, done ? "Copied" : "Select it by hand");
    setTimeout(() => say(copy, "Copy"), 2000);
  });
  return h(
    "section",
    { class: "panel", "aria-label": "The next machine" },
    h("div", { class: "title" }, h("h2", {}, "The next machine")),
    h(
      "div",
      { class: "inner join" },
      h("div", {}, code(LINE)),
      h(
        "div",
        {},
        h("p", {}, "On a machine with an engine, where ", h("span", { class: "mono" }, "echo-mesh"), " is installed, this line is all that it takes. It asks for a code:"),
        h("pre", { tabindex: 0 }, LINE),
        h("p", { class: "muted" }, "The code is made on this mesh's first machine, by ", h("span", { class: "mono" }, "echo-mesh invite"), ". The mesh must be open to your network: ", h("span", { class: "mono" }, "echo-mesh up --lan"), ". It is good for one machine and ten minutes."),
        copy,
      ),
    ),
  );
}

/** @param {string} text */
function code(text) {
  const grid = qr(text) ?? [];
  const quiet = 3;
  const side = grid.length + 2 * quiet;
  const dark = grid.flatMap((row, y) => row.flatMap((is, x) => (is ? [`M${x + quiet},${y + quiet}h1v1h-1z`] : [])));
  return svg("svg", { class: "qr", viewBox: `0 0 ${side} ${side}`, role: "img", "aria-label": `QR code of: ${text}`, "shape-rendering": "crispEdges" }, svg("path", { d: dark.join(""), fill: "#000" }));
}
