// The playground: ask the mesh something, see which node answers and why, and go on reading after a reload.

import { drop, fresh, heard, load, save, tidy, title } from "./conversations.js";
import { h, keyed, mark, say } from "./dom.js";
import { models, offered } from "./facts.js";
import { Message } from "./message.js";
import { picture } from "./picture.js";
import { ask, cancel, end, follow } from "./responses.js";
import { modelName } from "./text.js";

/**
 * @typedef {import("./live.js").Live} Live
 * @typedef {import("./conversations.js").Conversation} Conversation
 * @typedef {import("./conversations.js").Turn} Turn
 * @typedef {import("./conversations.js").Answer} Answer
 */

/** How often an answer that grows is written down. */
const WRITE = 400;
const MOST_IMAGES = 4;

export class ChatView {
  /** @param {HTMLElement} root @param {Live} live */
  constructor(root, live) {
    this.root = root;
    this.live = live;
    this.all = load();
    /** @type {Conversation} */
    this.open = this.all[0] ?? fresh("");
    /** @type {Map<Answer, AbortController>} */
    this.running = new Map();
    /** @type {Message[]} */
    this.messages = [];
    /** @type {string[]} */
    this.images = [];
    this.written = 0;
    this.list = h("ul");
    /** @type {Map<string, HTMLLIElement>} */
    this.entries = new Map();
    const begin = h("button", { class: "btn", type: "button", onclick: () => this.#new() }, "New chat");
    this.side = h("aside", { class: "side", "aria-label": "Conversations" }, begin, this.list);
    this.thread = h("div", { class: "thread", role: "log", "aria-label": "Conversation", "aria-live": "off" });
    this.hello = h("div", { class: "hello" }, h("h2", {}, "Ask the mesh"), h("p", {}, "It goes to the machine that is expected to be done first, and goes on elsewhere if that one dies. Conversations stay in this browser."));
    this.scroller = h("div", { class: "messages", tabindex: 0, role: "region", "aria-label": "Messages" }, this.hello, this.thread);
    this.model = h("select", { "aria-label": "Model", onchange: () => this.#set("model", this.model.value) });
    this.system = h("textarea", { id: "chat-system", rows: 2, placeholder: "You are a helpful assistant.", onchange: () => this.#set("system", this.system.value) });
    this.temperature = h("input", { id: "chat-temperature", type: "range", min: 0, max: 2, step: 0.1, oninput: () => this.#setTemperature(Number(this.temperature.value)) });
    this.temperatureText = h("output", { for: "chat-temperature", class: "mono" });
    this.settings = h(
      "div",
      { class: "settings", hidden: true },
      h("label", { for: "chat-system" }, "System prompt"),
      this.system,
      h("div", { class: "row" }, h("label", { for: "chat-temperature" }, "Temperature"), this.temperature, this.temperatureText, h("button", { class: "btn small", type: "button", onclick: () => this.#setTemperature(null) }, "The model's own")),
    );
    const settings = h("button", { class: "ghost", type: "button", "aria-expanded": "false", "aria-controls": "chat-settings", onclick: () => this.#toggle(settings) }, "Settings");
    this.settings.id = "chat-settings";
    const file = h("input", { type: "file", accept: "image/*", multiple: true, hidden: true, "aria-label": "Images", onchange: () => this.#attach(file) });
    const attach = h("button", { class: "ghost", type: "button", onclick: () => file.click() }, "Image");
    const chats = h("button", { class: "ghost only-phone", type: "button", onclick: () => this.side.classList.toggle("shown") }, "Chats");
    this.attached = h("div", { class: "attached", hidden: true });
    this.input = h("textarea", { rows: 1, placeholder: "Message", "aria-label": "Message", onkeydown: (/** @type {KeyboardEvent} */ event) => this.#key(event), oninput: () => this.#grow() });
    this.send = h("button", { class: "btn primary send", type: "submit" }, "Send");
    this.said = h("p", { class: "visually-hidden", role: "status" });
    this.notice = h("p", { class: "notice", role: "alert", hidden: true }, "This browser has no room for this conversation: it is gone when the page is closed. Delete others, or begin a new one.");
    const form = h("form", { onsubmit: (/** @type {Event} */ event) => this.#submit(event) }, this.settings, this.attached, this.input, h("div", { class: "tools" }, this.model, settings, attach, file, chats, this.send));
    this.root.append(h("h1", { class: "visually-hidden", id: "chat-title" }, "Chat"), this.side, h("div", { class: "talk" }, this.scroller, h("div", { class: "composer" }, this.notice, form)), this.said);
    this.#openUp(this.open);
    for (const kind of ["snapshot", "change"]) live.addEventListener(kind, () => this.update());
    tidy(this.all);
    addEventListener("pagehide", () => this.all.forEach((conversation) => this.#isRunning(conversation) && save(conversation)));
    addEventListener("storage", (event) => this.#hear(event));
    // Whatever was out of reach may be back: the network, the person, the edge.
    addEventListener("online", () => this.#takeUpAll());
    document.addEventListener("visibilitychange", () => document.hidden || this.#takeUpAll());
    live.addEventListener("snapshot", () => this.#takeUpAll());
    for (const conversation of this.all) {
      const last = conversation.turns.at(-1)?.answer;
      if (last?.state === "running") this.#takeUp(conversation, last);
    }
  }

  /** Follows each answer that runs and is not followed. One without an id is another tab's, and just begins. */
  #takeUpAll() {
    for (const conversation of this.all) {
      const last = conversation.turns.at(-1)?.answer;
      if (last?.state === "running" && last.id && !this.running.has(last)) this.#takeUp(conversation, last);
    }
  }

  /** Another tab has written something down. @param {StorageEvent} change */
  #hear(change) {
    const follows = (/** @type {Conversation} */ conversation) => conversation.turns.some((turn) => this.running.has(turn.answer));
    const all = heard(this.all, change, follows);
    if (all === this.all) return;
    const isOpen = this.all.includes(this.open);
    this.all = all;
    const open = all.find((conversation) => conversation.id === this.open.id);
    if (open && open !== this.open) this.#openUp(open);
    else if (!open && isOpen) this.#openUp(all[0] ?? fresh(this.open.model));
    else this.#showList();
  }

  /** Writes one down, and says so where that fails. @param {Conversation} conversation */
  #keep(conversation) {
    const isKept = save(conversation);
    if (conversation === this.open) this.notice.hidden = isKept;
  }

  update() {
    this.messages.forEach((message) => message.look(this.live.mesh));
    if (this.root.hidden) return;
    this.#offerModels();
  }

  #offerModels() {
    const known = models(this.live.mesh);
    const { chosen, missing } = offered(known, this.open.model, this.live.mesh.mesh.default_model);
    const text = JSON.stringify([known, chosen, missing]);
    if (this.model.dataset.shown === text) return;
    this.model.dataset.shown = text;
    const group = (/** @type {string} */ label, /** @type {typeof known} */ list) =>
      list.length > 0 ? [h("optgroup", { label }, ...list.map((model) => h("option", { value: model.name }, modelName(model.name))))] : [];
    this.model.replaceChildren(
      ...(missing ? [h("option", { value: missing }, `${modelName(missing)} (not there now)`)] : []),
      ...(known.length === 0 && !missing ? [h("option", { value: "" }, "No model yet")] : []),
      ...group("In memory", known.filter((model) => model.loaded)),
      ...group("On disk", known.filter((model) => !model.loaded)),
    );
    this.model.value = chosen;
  }

  /** @param {Conversation} conversation */
  #openUp(conversation) {
    this.open = conversation;
    this.notice.hidden = true;
    this.thread.replaceChildren();
    this.messages = conversation.turns.map((turn) => this.#message(turn));
    this.hello.hidden = conversation.turns.length > 0;
    this.system.value = conversation.system;
    this.#showTemperature();
    this.model.dataset.shown = "";
    this.#offerModels();
    this.#showList();
    this.#showSend();
    this.side.classList.remove("shown");
    this.update();
    requestAnimationFrame(() => this.scroller.scrollTo(0, this.scroller.scrollHeight));
  }

  /** @param {Turn} turn */
  #message(turn) {
    const message = new Message(turn);
    this.thread.append(message.asked, message.element);
    return message;
  }

  #new() {
    const empty = this.all.find((conversation) => conversation.turns.length === 0);
    this.#openUp(empty ?? fresh(this.open.model));
    this.input.focus();
  }

  #showList() {
    const kept = this.all.filter((conversation) => conversation.turns.length > 0).sort((a, b) => b.changed - a.changed);
    keyed(
      this.list,
      this.entries,
      kept.map((conversation) => [conversation.id, conversation]),
      (conversation) =>
        h(
          "li",
          {},
          h("button", { class: "open", type: "button", onclick: () => this.#openUp(conversation) }),
          h("button", { class: "drop", type: "button", onclick: () => this.#drop(conversation) }, "×"),
        ),
      (entry, conversation) => {
        const [open, drop] = entry.children;
        say(open, conversation.title || "New chat");
        mark(drop, "aria-label", `Delete ${conversation.title || "this chat"}`);
        mark(open, "aria-current", conversation === this.open ? "true" : null);
        entry.classList.toggle("on", conversation === this.open);
      },
    );
  }

  /** @param {Conversation} conversation */
  #drop(conversation) {
    const last = conversation.turns.at(-1)?.answer;
    if (last?.state === "running") this.#stop(last);
    this.all = this.all.filter((other) => other !== conversation);
    drop(conversation);
    if (conversation === this.open) this.#openUp(this.all[0] ?? fresh(conversation.model));
    else this.#showList();
  }

  /** @param {Event} event */
  #submit(event) {
    event.preventDefault();
    const running = this.open.turns.at(-1)?.answer;
    if (running?.state === "running") return this.#stop(running);
    const text = this.input.value.trim();
    if (!text && this.images.length === 0) return;
    const conversation = this.open;
    if (!this.all.includes(conversation)) this.all.unshift(conversation);
    conversation.title ||= title(text) || "Images";
    conversation.model = this.model.value;
    conversation.changed = Date.now();
    /** @type {Answer} */
    const answer = { sequence: -1, state: "running", text: "", thinking: "", began: Date.now() };
    const turn = { said: { text, images: this.images }, answer };
    conversation.turns.push(turn);
    this.images = [];
    this.input.value = "";
    this.#grow();
    this.#showImages();
    this.hello.hidden = true;
    this.messages.push(this.#message(turn));
    this.#run(conversation, answer, (stop, changed) => ask(conversation, answer, stop, changed));
    requestAnimationFrame(() => this.scroller.scrollTo(0, this.scroller.scrollHeight));
  }

  /** An answer that was running when the page was left. @param {Conversation} conversation @param {Answer} answer */
  #takeUp(conversation, answer) {
    if (answer.id) return this.#run(conversation, answer, (stop, changed) => follow(answer, stop, changed));
    end(answer, "failed");
    answer.error = "The page was left before the answer had begun. Ask again.";
    this.#shown(answer);
  }

  /**
   * @param {Conversation} conversation
   * @param {Answer} answer
   * @param {(stop: AbortSignal, changed: () => void) => Promise<void>} act
   */
  async #run(conversation, answer, act) {
    const controller = new AbortController();
    this.running.set(answer, controller);
    this.#keep(conversation);
    this.#showList();
    this.#showSend();
    await act(controller.signal, () => this.#shown(answer, conversation));
    this.running.delete(answer);
    conversation.changed = Date.now();
    // It may have been deleted meanwhile.
    if (this.all.includes(conversation)) this.#keep(conversation);
    tidy(this.all);
    this.#shown(answer);
    this.#showSend();
    if (answer.state === "running") return say(this.said, "The edge cannot be reached");
    say(this.said, answer.state === "done" ? "The answer is complete" : (answer.error ?? "The answer was stopped"));
  }

  /** @param {Answer} answer */
  #stop(answer) {
    end(answer, "stopped");
    // An answer that has no id yet is cancelled as soon as it has one.
    if (answer.id) {
      this.running.get(answer)?.abort();
      cancel(answer);
    }
    const conversation = this.all.find(({ turns }) => turns.some((turn) => turn.answer === answer));
    if (conversation) this.#keep(conversation);
    this.#shown(answer);
    this.#showSend();
  }

  /** @param {Conversation} conversation */
  #isRunning(conversation) {
    return conversation.turns.at(-1)?.answer.state === "running";
  }

  /** Something of an answer is new. @param {Answer} answer @param {Conversation} [conversation] To be written down. */
  #shown(answer, conversation) {
    const message = this.messages.find((known) => known.turn.answer === answer);
    const scroller = this.scroller;
    const follows = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 80;
    message?.show(() => follows && scroller.scrollTo(0, scroller.scrollHeight));
    message?.look(this.live.mesh);
    // One that was deleted does not come back.
    if (conversation && this.all.includes(conversation) && Date.now() - this.written > WRITE) {
      this.written = Date.now();
      this.#keep(conversation);
    }
  }

  #showSend() {
    const running = this.#isRunning(this.open);
    say(this.send, running ? "Stop" : "Send");
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    if (!this.#isRunning(this.open)) this.#submit(event);
  }

  #grow() {
    const input = this.input;
    input.style.setProperty("height", "auto");
    input.style.setProperty("height", `${input.scrollHeight}px`);
  }

  /** @param {HTMLButtonElement} button */
  #toggle(button) {
    this.settings.hidden = !this.settings.hidden;
    mark(button, "aria-expanded", String(!this.settings.hidden));
  }

  /** @param {"model" | "system"} name @param {string} value */
  #set(name, value) {
    this.open[name] = value;
    this.#keep(this.open);
  }

  /** @param {number | null} value */
  #setTemperature(value) {
    this.open.temperature = value;
    this.#showTemperature();
    this.#keep(this.open);
  }

  #showTemperature() {
    const value = this.open.temperature;
    this.temperature.value = String(value ?? 0.8);
    say(this.temperatureText, value === null ? "its own" : value.toFixed(1));
  }

  /** @param {HTMLInputElement} file */
  async #attach(file) {
    const made = await Promise.all([...(file.files ?? [])].map(picture));
    file.value = "";
    this.images = [...this.images, ...made.filter((url) => url !== undefined)].slice(0, MOST_IMAGES);
    this.#showImages();
  }

  #showImages() {
    this.attached.hidden = this.images.length === 0;
    this.attached.replaceChildren(
      ...this.images.map((url, index) => {
        const drop = () => {
          this.images = this.images.filter((_, other) => other !== index);
          this.#showImages();
        };
        return h("button", { type: "button", "aria-label": `Remove image ${index + 1}`, onclick: drop }, h("img", { src: url, alt: "" }));
      }),
    );
  }
}
