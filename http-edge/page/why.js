// Why a task is where it is: what was expected, what came, and who else could have.

import { h } from "./dom.js";
import { span } from "./text.js";

/** @typedef {import("./live.js").Task} Task */

/** @type {["wait" | "load" | "prompt" | "answer" | "whole", string][]} */
const PARTS = [
  ["wait", "Wait"],
  ["load", "Load the model"],
  ["prompt", "Read the prompt"],
  ["answer", "Answer"],
  ["whole", "All of it"],
];

/** @param {Task} task @returns {HTMLElement} */
export function whyBox(task) {
  return h("div", { class: "whybox" }, way(task), times(task), others(task));
}

/** @param {Task} task */
function way(task) {
  const nodes = task.nodes.map((node, index) => h("li", {}, `${index + 1}. ${node}`, index < task.nodes.length - 1 ? h("span", { class: "muted" }, " – was lost or gave up") : null));
  const client = task.client ? h("p", { class: "muted" }, `Asked with the key of ${task.client}.`) : null;
  const detail = task.detail ? h("p", { class: "muted" }, task.detail) : null;
  return h("div", {}, h("h3", {}, "Where"), nodes.length > 0 ? h("ul", {}, ...nodes) : h("p", {}, "No node has it yet."), client, detail);
}

/** @param {Task} task */
function times(task) {
  const { expected_ms: expected = {}, measured_ms: measured = {} } = task.why ?? {};
  const rows = PARTS.filter(([part]) => expected[part] !== undefined || measured[part] !== undefined);
  const said = (/** @type {number | undefined} */ ms) => h("span", {}, ms === undefined ? "–" : span(ms));
  const cells = rows.flatMap(([part, name]) => [h("span", {}, name), said(expected[part]), said(measured[part])]);
  return h(
    "div",
    {},
    h("h3", {}, "Time"),
    rows.length > 0
      ? h("div", { class: "times" }, h("span"), h("span", { class: "muted" }, "expected"), h("span", { class: "muted" }, "measured"), ...cells)
      : h("p", { class: "muted" }, "Nothing was measured here that an expectation could be made of."),
  );
}

/** @param {Task} task */
function others(task) {
  const list = (task.why?.instead_of ?? []).map((other) =>
    h("li", {}, h("strong", {}, other.node), other.expected_ms === undefined ? null : ` – done in ${span(other.expected_ms)}`, other.because ? h("div", { class: "muted" }, other.because) : null),
  );
  return h("div", {}, h("h3", {}, "Who else could have"), list.length > 0 ? h("ul", {}, ...list) : h("p", { class: "muted" }, "No other node was in question."));
}
