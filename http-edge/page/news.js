// What has happened lately, in sentences: from what is known and what is about to change.

import { count } from "./text.js";

/**
 * @typedef {import("./live.js").Mesh} Mesh
 * @typedef {import("./live.js").MeshNode} MeshNode
 * @typedef {import("./live.js").Task} Task
 * @typedef {{nodes?: Record<string, Partial<MeshNode> | null>, tasks?: Record<string, Partial<Task> | null>}} Patch
 * @typedef {{level: "good" | "warn" | "bad", text: string}} News
 */

/**
 * @param {Mesh} mesh As it is before the change.
 * @param {Patch} patch
 * @returns {News[]}
 */
export function newsOf(mesh, patch) {
  /** @type {News[]} */
  const news = [];
  for (const [id, change] of Object.entries(patch.nodes ?? {})) {
    const said = ofNode(id, mesh.nodes[id], change);
    if (said) news.push(said);
  }
  for (const [id, change] of Object.entries(patch.tasks ?? {})) {
    const said = change ? ofTask(mesh.tasks[id], change) : undefined;
    if (said) news.push(said);
  }
  return news;
}

/** @param {string} id @param {MeshNode | undefined} before @param {Partial<MeshNode> | null} change @returns {News | undefined} */
function ofNode(id, before, change) {
  if (change === null) return { level: "warn", text: `${id} was not heard of for ten minutes and is not shown any more` };
  const { status } = change;
  if (!before) return { level: "good", text: `${id} is in the mesh` };
  if (!status || status === before.status) return undefined;
  if (status === "silent") return { level: "bad", text: `${id} has fallen silent` };
  if (status === "unavailable") return { level: "bad", text: `${id} cannot use its engine${change.reason ? `: ${change.reason}` : ""}` };
  if (status === "draining") return { level: "warn", text: `${id} takes nothing new: ${change.reason || "it is drained"}` };
  if (before.status === "silent") return { level: "good", text: `${id} is back` };
  if (before.status === "unavailable") return { level: "good", text: `${id} can use its engine again` };
  if (before.status === "draining") return { level: "good", text: `${id} takes work again` };
  return undefined;
}

/** @param {Task | undefined} before @param {Partial<Task>} change @returns {News | undefined} */
function ofTask(before, change) {
  const from = before?.nodes.at(-1);
  const to = change.nodes?.at(-1);
  if (before && from && to && from !== to) {
    const after = before.tokens > 0 ? ` after ${count(before.tokens, "token")}` : "";
    return { level: "warn", text: `an answer of ${from} goes on at ${to}${after}` };
  }
  if (change.state === "failed") return { level: "bad", text: `a task has failed${change.detail ? `: ${change.detail}` : ""}` };
  return undefined;
}
