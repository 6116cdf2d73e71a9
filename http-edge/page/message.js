// One turn of a conversation: what was said, the answer as it comes, and where it comes from.

import { h, say } from "./dom.js";
import { Written } from "./markdown.js";
import { shownAs } from "./sha256.js";
import { speed } from "./facts.js";
import { count, modelName, rate, span } from "./text.js";
import { whyBox } from "./why.js";

/**
 * @typedef {import("./conversations.js").Turn} Turn
 * @typedef {import("./live.js").Mesh} Mesh
 * @typedef {import("./live.js").Task} Task
 */

export class Message {
  /** @param {Turn} turn */
  constructor(turn) {
    this.turn = turn;
    this.asked = h("div", { class: "msg user" }, ...turn.said.images.map((url) => h("img", { src: url, alt: "An attached image" })), turn.said.text);
    this.thought = h("p");
    this.thinking = h("details", { class: "thinking", hidden: true }, h("summary", {}, "Thinking"), this.thought);
    this.text = h("div", { class: "text" });
    this.caret = h("span", { class: "caret", "aria-hidden": "true" });
    this.written = new Written(this.text);
    this.where = h("span", { class: "where", hidden: true }, h("i", { class: "dot", "aria-hidden": "true" }), h("span"));
    this.model = h("span");
    this.figures = h("span");
    this.whyBody = h("div");
    this.why = h("details", { hidden: true }, h("summary", {}, "Why there?"), this.whyBody);
    this.error = h("span", { class: "error", role: "alert", hidden: true });
    this.element = h("div", { class: "msg assistant" }, this.thinking, this.text, this.caret, h("div", { class: "foot" }, this.where, this.model, this.figures, this.error, this.why));
    /** @type {number | undefined} */
    this.frame = undefined;
    /** Under which name the task is shown. @type {string | undefined} */
    this.name = undefined;
    this.#draw();
    this.#foot();
  }

  /** The answer has grown; drawn once for each frame. @param {() => void} drawn */
  show(drawn) {
    // A page in the background draws no frames: then the end is drawn at once.
    if (document.hidden) return this.#draw();
    this.frame ??= requestAnimationFrame(() => {
      this.frame = undefined;
      this.#draw();
      drawn();
    });
  }

  #draw() {
    const { answer } = this.turn;
    this.written.show(answer.text);
    this.thinking.hidden = !answer.thinking;
    say(this.thought, answer.thinking);
    this.caret.hidden = answer.state !== "running";
    const trouble = answer.error ?? (answer.lost && answer.state === "running" ? "The edge cannot be reached. The answer is taken up when it is back." : "");
    this.error.hidden = !trouble;
    say(this.error, trouble);
    this.#foot();
  }

  /** Looks where the task is now. @param {Mesh} mesh */
  look(mesh) {
    const { answer } = this.turn;
    if (!answer.task) return;
    this.name ??= shownAs(answer.task);
    const task = mesh.tasks[this.name];
    // What has ended stays as it is.
    if (task && !answer.seen?.ended) answer.seen = structuredClone(task);
    this.#foot();
  }

  #foot() {
    const { answer } = this.turn;
    const task = answer.seen;
    const nodes = task?.nodes ?? (answer.node ? [answer.node] : []);
    const running = answer.state === "running";
    this.where.hidden = nodes.length === 0 && !running;
    const place = nodes.length > 0 ? nodes.join(" → ") : task?.state === "waiting" ? "waiting in line" : "finding a node";
    const moving = running && task?.state === "moving" && nodes.length > 0;
    say(/** @type {Element} */ (this.where.lastElementChild), moving ? `${place} → …` : place);
    say(this.model, modelName(answer.model ?? task?.model));
    say(this.figures, this.#said(task));
    this.why.hidden = !task || nodes.length === 0;
    const text = JSON.stringify([task?.why, task?.nodes, task?.detail]);
    if (task && this.whyBody.dataset.shown !== text) {
      this.whyBody.dataset.shown = text;
      this.whyBody.replaceChildren(whyBox(task));
    }
  }

  /** @param {Task | undefined} task */
  #said(task) {
    const { answer } = this.turn;
    const tokens = Math.max(answer.tokens ?? 0, task?.tokens ?? 0);
    const parts = tokens > 0 ? [count(tokens, "token")] : [];
    const measured = task ? speed(task) : undefined;
    if (measured !== undefined) parts.push(`${rate(measured)} tokens/s`);
    if (answer.ended) parts.push(span(answer.ended - answer.began));
    if (answer.state === "stopped") parts.push("stopped");
    if (task && task.nodes.length > 1) parts.push("went on after its node was lost");
    return parts.join(" · ");
  }
}
