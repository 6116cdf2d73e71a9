// Asks by OpenAI's Responses API, with an answer that goes on without its reader: whoever loads the page again takes it up
// after the last event that it had.

import { ask as send } from "./key.js";
import { eventsOf } from "./sse.js";

/**
 * @typedef {import("./conversations.js").Conversation} Conversation
 * @typedef {import("./conversations.js").Answer} Answer
 */

const TRIES = 8;
const FIRST_PAUSE = 300;
/** A connection on which nothing comes for so long leads nowhere: an edge gives a sign of life much more often. */
const SILENCE = 60_000;
/** How often the end of an answer is asked for. */
const CANCELS = 3;

/**
 * What is asked: the conversation so far, its last answer not yet given.
 * @param {Conversation} conversation
 */
export function request(conversation) {
  const input = conversation.turns.flatMap(({ said, answer }) => {
    const content = [
      ...said.images.map((url) => ({ type: "input_image", image_url: url })),
      ...(said.text ? [{ type: "input_text", text: said.text }] : []),
    ];
    const given = answer.text ? [{ type: "message", role: "assistant", content: [{ type: "output_text", text: answer.text }] }] : [];
    return [{ type: "message", role: "user", content }, ...given];
  });
  return {
    model: conversation.model,
    input,
    stream: true,
    background: true,
    store: true,
    ...(conversation.system ? { instructions: conversation.system } : {}),
    ...(conversation.temperature === null ? {} : { temperature: conversation.temperature }),
  };
}

/**
 * Takes one event of the stream into an answer; true where something was new. What comes twice changes nothing.
 * @param {Answer} answer
 * @param {any} event
 * @returns {boolean}
 */
export function take(answer, event) {
  const number = event.sequence_number;
  if (typeof number === "number") {
    if (number <= answer.sequence) return false;
    answer.sequence = number;
  }
  const response = event.response;
  if (response?.id) answer.id = response.id;
  if (response?.model) answer.model = response.model;
  switch (event.type) {
    case "response.output_text.delta":
      answer.text += event.delta ?? "";
      return true;
    case "response.reasoning_text.delta":
    case "response.reasoning_summary_text.delta":
      answer.thinking += event.delta ?? "";
      return true;
    case "response.completed":
    case "response.incomplete":
      end(answer, "done");
      answer.tokens = response?.usage?.output_tokens ?? answer.tokens;
      if (response?.incomplete_details?.reason === "max_output_tokens") answer.error = "The answer was cut at its limit of tokens.";
      return true;
    case "response.cancelled":
      end(answer, "stopped");
      return true;
    case "response.failed":
    case "error":
      end(answer, "failed");
      answer.error = response?.error?.message ?? event.message ?? event.error?.message ?? "The answer has failed.";
      return true;
    default:
      return false;
  }
}

/** @param {Answer} answer @param {Answer["state"]} state */
export function end(answer, state) {
  answer.state = state;
  answer.ended = Date.now();
}

/**
 * Begins an answer and follows it to its end, through broken connections too.
 * @param {Conversation} conversation
 * @param {Answer} answer
 * @param {AbortSignal} stop
 * @param {() => void} changed
 */
export async function ask(conversation, answer, stop, changed) {
  const silence = new Silence(stop);
  const init = { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(request(conversation)), signal: silence.signal };
  try {
    const response = await send("/v1/responses", init);
    if (!(await hear(response, answer, changed, silence))) return;
  } catch (error) {
    if (stop.aborted) return;
    if (!answer.id) {
      end(answer, "failed");
      answer.error = `The edge cannot be reached: ${error instanceof Error ? error.message : error}`;
      return changed();
    }
  } finally {
    silence.end();
  }
  await follow(answer, stop, changed);
}

/** Breaks a connection on which nothing comes any more. */
class Silence {
  #controller = new AbortController();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #stop;
  #abort = () => this.#controller.abort();

  /** @param {AbortSignal} stop Breaks it, too. */
  constructor(stop) {
    this.#stop = stop;
    stop.addEventListener("abort", this.#abort);
    if (stop.aborted) this.#abort();
  }

  get signal() {
    return this.#controller.signal;
  }

  /** Something came: the time begins anew. */
  restart() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(this.#abort, SILENCE);
  }

  end() {
    clearTimeout(this.#timer);
    this.#stop.removeEventListener("abort", this.#abort);
  }
}

/**
 * Follows an answer that was begun before, from the last event that was had. An answer whose edge is out of reach stays
 * one that runs, and is `lost` until it is followed again.
 * @param {Answer} answer
 * @param {AbortSignal} stop
 * @param {() => void} changed
 */
export async function follow(answer, stop, changed) {
  answer.lost = false;
  for (let tries = 0; answer.state === "running" && !stop.aborted; tries += 1) {
    if (tries > 0) await new Promise((done) => setTimeout(done, Math.min(FIRST_PAUSE * 2 ** tries, 10_000)));
    const before = answer.sequence;
    const silence = new Silence(stop);
    silence.restart();
    try {
      const after = answer.sequence >= 0 ? `&starting_after=${answer.sequence}` : "";
      const response = await send(`/v1/responses/${encodeURIComponent(answer.id ?? "")}?stream=true${after}`, { signal: silence.signal });
      if (!(await hear(response, answer, changed, silence))) return;
    } catch {
      // The connection has broken: there may be another one.
    } finally {
      silence.end();
    }
    if (answer.sequence > before) tries = 0;
    if (tries >= TRIES && answer.state === "running") {
      answer.lost = true;
      return changed();
    }
  }
}

/**
 * @param {Response} response
 * @param {Answer} answer
 * @param {() => void} changed
 * @param {Silence} silence
 * @returns {Promise<boolean>} whether to ask on
 */
async function hear(response, answer, changed, silence) {
  answer.task = response.headers.get("x-echo-task-id") ?? answer.task;
  answer.node = response.headers.get("x-echo-node") ?? answer.node;
  if (!response.ok) {
    const refused = await response.json().catch(() => undefined);
    if (response.status >= 500 && answer.id) return true;
    end(answer, "failed");
    answer.error = refused?.error?.message ?? refused?.error ?? `The edge answers ${response.status}.`;
    changed();
    return false;
  }
  silence.restart();
  for await (const event of eventsOf(response, () => silence.restart())) {
    if (event.data === "[DONE]") continue;
    let read;
    try {
      read = JSON.parse(event.data);
    } catch {
      continue;
    }
    take(answer, read);
    if (read.type === "response.created" && answer.state === "stopped") cancel(answer);
    changed();
    if (answer.state !== "running") return false;
  }
  return true;
}

/** Ends the work at the engine, too. @param {Answer} answer */
export async function cancel(answer) {
  if (!answer.id) return;
  for (let tries = 0; tries < CANCELS; tries += 1) {
    if (tries > 0) await new Promise((done) => setTimeout(done, FIRST_PAUSE * 2 ** tries));
    const response = await send(`/v1/responses/${encodeURIComponent(answer.id)}/cancel`, { method: "POST" }).catch(() => undefined);
    // What was refused is refused again.
    if (response && response.status < 500) return;
  }
}
