// What follows from what the edge tells: pure functions, so that they are tested without a browser.

import { count, span } from "./text.js";

/**
 * @typedef {import("./live.js").MeshNode} MeshNode
 * @typedef {import("./live.js").Task} Task
 * @typedef {import("./live.js").Mesh} Mesh
 * @typedef {{level: "bad" | "warn" | "good", node?: string, text: string}} Trouble
 */

/** @type {Record<MeshNode["status"], string>} */
const WORDS = { idle: "Ready", busy: "Busy", draining: "Draining", unavailable: "Unavailable", silent: "Silent" };

/** @param {MeshNode} node */
export function word(node) {
  if (node.status === "idle" && node.active > 0) return "Answering";
  return WORDS[node.status] ?? node.status;
}

/** Why a node is as it is; empty where the word says all. @param {MeshNode} node @param {number} now */
export function reason(node, now) {
  if (node.status === "silent") return `not heard of for ${span(Math.max(0, now - (node.heard ?? now)))}`;
  if (node.status === "draining") {
    const does = node.active > 0 ? "finishes what it has, takes nothing new" : "takes nothing new";
    return node.reason ? `${does}: ${node.reason}` : does;
  }
  return node.reason ?? "";
}

/**
 * Each node's tasks that are there now, by node.
 * @param {Record<string, Task>} tasks
 * @returns {Map<string, [string, Task][]>}
 */
export function tasksByNode(tasks) {
  /** @type {Map<string, [string, Task][]>} */
  const found = new Map();
  for (const [id, task] of Object.entries(tasks)) {
    if (task.state !== "running" || !task.node) continue;
    const list = found.get(task.node) ?? [];
    list.push([id, task]);
    found.set(task.node, list);
  }
  for (const list of found.values()) list.sort((a, b) => a[1].began - b[1].began);
  return found;
}

/** Those that wait, the first first. @param {Record<string, Task>} tasks */
export function waiting(tasks) {
  const line = Object.entries(tasks).filter(([, task]) => task.state === "waiting" || task.state === "moving");
  return line.sort((a, b) => a[1].began - b[1].began);
}

/**
 * The place of each waiting task in the line of its model now: what it was told when it joined that is old.
 * @param {Record<string, Task>} tasks
 * @returns {Map<string, number>}
 */
export function positions(tasks) {
  /** @type {Map<string, number>} */
  const counts = new Map();
  const found = new Map();
  for (const [id, task] of waiting(tasks)) {
    if (task.state !== "waiting") continue;
    const place = (counts.get(task.model ?? "") ?? 0) + 1;
    counts.set(task.model ?? "", place);
    found.set(id, place);
  }
  return found;
}

/** How long a task is still expected to wait; undefined where nobody knows. @param {Task} task @param {number} now */
export function remaining(task, now) {
  if (task.state !== "waiting" || task.expected_wait_ms === undefined || task.queued === undefined) return undefined;
  const left = task.expected_wait_ms - (now - task.queued);
  // What has not come true is not said any more.
  return left >= 0 ? left : undefined;
}

/** @typedef {{state: string, node: string, model: string}} Wanted */

/**
 * Tasks as they are listed: those that run, those that wait, those that ended, each the newest first.
 * @param {Record<string, Task>} tasks
 * @param {Wanted} wanted
 * @returns {[string, Task][]}
 */
export function listed(tasks, wanted) {
  const chosen = Object.entries(tasks).filter(
    ([, task]) =>
      (!wanted.node || task.nodes.includes(wanted.node)) &&
      (!wanted.model || task.model === wanted.model) &&
      (!wanted.state || group(task) === wanted.state),
  );
  const rank = { running: 0, waiting: 1, ended: 2 };
  return chosen.sort(([, a], [, b]) => rank[group(a)] - rank[group(b)] || (b.ended ?? b.began) - (a.ended ?? a.began));
}

/** @param {Task} task @returns {"running" | "waiting" | "ended"} */
export function group(task) {
  if (task.state === "running" || task.state === "moving") return "running";
  return task.state === "waiting" ? "waiting" : "ended";
}

/** From the request to the first piece of the answer, where that was measured; else undefined. @param {Task} task */
export function firstToken(task) {
  const measured = task.why?.measured_ms;
  if (measured?.prompt === undefined) return undefined;
  return (measured.wait ?? 0) + (measured.load ?? 0) + measured.prompt;
}

/** Tokens a second of the last attempt; undefined where nobody measured. @param {Task} task */
export function speed(task) {
  const answer = task.why?.measured_ms?.answer;
  // An answer that was continued has tokens of other nodes, too.
  if (!answer || task.tokens < 2 || task.nodes.length !== 1) return undefined;
  return (task.tokens - 1) / (answer / 1000);
}

/**
 * What an operator should know, the worst first.
 * @param {Mesh} mesh
 * @param {number} now
 * @returns {Trouble[]}
 */
export function troubles(mesh, now) {
  /** @type {Trouble[]} */
  const found = [];
  const nodes = Object.entries(mesh.nodes);
  if (mesh.mesh.connected === false) found.push({ level: "bad", text: "The edge has lost the broker: what is shown is from before. It reconnects by itself." });
  if (mesh.mesh.orchestrator === "") found.push({ level: "bad", text: "No orchestrator answers: new tasks wait. Start one (echo-mesh orchestrator), or wait until it is back." });
  if (nodes.length === 0) found.push({ level: "warn", text: "There is no node yet. Start an agent beside an engine (echo-mesh agent), or bring a machine in (echo-mesh join)." });
  for (const [id, node] of nodes) found.push(...troublesOf(id, node, now));
  found.push(...versions(nodes));
  if (nodes.length > 0 && !nodes.some(([, node]) => isUp(node) && node.models.length > 0)) {
    found.push({ level: "bad", text: "No node that is up has a model. Pull one: ollama pull on its machine." });
  }
  const rank = { bad: 0, warn: 1, good: 2 };
  return found.sort((a, b) => rank[a.level] - rank[b.level]);
}

/** @param {MeshNode} node */
const isUp = (node) => node.status === "idle" || node.status === "busy";

/** @param {string} id @param {MeshNode} node @param {number} now @returns {Trouble[]} */
function troublesOf(id, node, now) {
  /** @type {Trouble[]} */
  const found = [];
  const add = (/** @type {Trouble["level"]} */ level, /** @type {string} */ text) => found.push({ level, node: id, text });
  if (node.status === "silent") add("bad", `${reason(node, now)}: its machine is off or asleep, its network is gone, or its agent has ended.`);
  if (node.status === "unavailable") add("bad", node.reason || "its engine cannot be used.");
  if (node.status === "draining") {
    const byItself = node.paused === "hours" || node.paused === "load";
    const until = byItself ? "it goes on by itself, or when it is resumed" : "it takes nothing new until it is resumed or its agent is started again";
    add("warn", `${node.reason || "drained"}: ${until}.`);
  }
  if (isUp(node) && node.models.length === 0) add("warn", "its engine has no model.");
  const closed = node.models.filter((model) => model.unavailable);
  for (const model of closed) add("warn", `takes nothing for ${model.name}: ${model.unavailable}`);
  if (node.memory.total > 0 && node.memory.free / node.memory.total < 0.05) add("warn", "has less than 5% of its memory free.");
  if (node.disk.total > 0 && node.disk.free / node.disk.total < 0.03) add("warn", "has less than 3% of its disk free.");
  return found;
}

/** @param {[string, MeshNode][]} nodes @returns {Trouble[]} */
function versions(nodes) {
  const all = [...new Set(nodes.map(([, node]) => node.version))].sort();
  if (all.length < 2) return [];
  return [{ level: "warn", text: `Agents have ${count(all.length, "version")} (${all.join(", ")}). They work together; update the older ones when you can.` }];
}

/**
 * What a chat is offered. One that has a model keeps it while that is away: a node may only be silent for a moment.
 * @param {{name: string}[]} known
 * @param {string} own The model of the chat, if it has one.
 * @param {string} [usual] The mesh's default.
 */
export function offered(known, own, usual) {
  const has = (/** @type {string | undefined} */ name) => known.some((model) => model.name === name);
  const missing = own && !has(own) ? own : undefined;
  const chosen = own || (usual && has(usual) ? usual : (known[0]?.name ?? ""));
  return { chosen, missing };
}

/**
 * How old what the page shows is, in a word that is read aloud and one that changes all the time.
 * @param {{freshness: import("./live.js").Freshness, heard: number, mesh: Mesh}} live
 * @param {number} now
 * @returns {{is: import("./live.js").Freshness, word: string, age: string}}
 */
export function badge(live, now) {
  if (live.freshness === "connecting") return { is: "connecting", word: "Connecting", age: "" };
  if (live.freshness === "old") return { is: "old", word: "Old, reconnecting", age: span(now - live.heard) };
  if (live.mesh.mesh.connected === false) return { is: "old", word: "Old, the edge has lost the broker", age: "" };
  return { is: "live", word: "Live", age: "" };
}

/** All models of nodes that are up: the loaded ones first. @param {Mesh} mesh */
export function models(mesh) {
  /** @type {Map<string, {name: string, loaded: boolean, sees: boolean, nodes: number}>} */
  const found = new Map();
  for (const node of Object.values(mesh.nodes)) {
    if (!isUp(node)) continue;
    for (const model of node.models) {
      if (model.can.length > 0 && !model.can.includes("completion")) continue;
      const known = found.get(model.name) ?? { name: model.name, loaded: false, sees: false, nodes: 0 };
      known.loaded ||= model.loaded === true;
      known.sees ||= model.can.includes("vision");
      known.nodes += 1;
      found.set(model.name, known);
    }
  }
  return [...found.values()].sort((a, b) => Number(b.loaded) - Number(a.loaded) || a.name.localeCompare(b.name));
}
