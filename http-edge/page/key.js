// The API key of whoever looks, where the edge wants one: asked for once, kept in this browser, sent with each request.

import { h } from "./dom.js";

const KEPT = "echo-api-key";

/** Who waits for a key. @type {(() => void)[]} */
let waiting = [];
/** @type {HTMLElement | undefined} */
let form;

/** Whether somebody waits for the user to give a key. */
export function waits() {
  return form !== undefined;
}

/** @returns {string | null} */
function kept() {
  return localStorage.getItem(KEPT);
}

/**
 * As `fetch`, with the key. An edge that does not take it is asked again once the user has given another one.
 * @param {string} path
 * @param {RequestInit} [init]
 * @returns {Promise<Response>}
 */
export async function ask(path, init = {}) {
  for (;;) {
    const key = kept();
    const headers = new Headers(init.headers);
    if (key) headers.set("authorization", `Bearer ${key}`);
    const response = await fetch(path, { ...init, headers });
    if (response.status !== 401) {
      forgettable();
      return response;
    }
    // Another request may have brought a better one meanwhile.
    if (kept() !== key) continue;
    const said = await response.json().catch(() => undefined);
    await another(key ? (said?.error ?? "This key is not taken.") : "", init.signal);
  }
}

/**
 * Waits until the user has given a key.
 * @param {string} why Why the one before is not good enough.
 * @param {AbortSignal | null | undefined} stop
 */
function another(why, stop) {
  show(why);
  return new Promise((/** @type {(value?: undefined) => void} */ done, fail) => {
    waiting.push(() => done());
    stop?.addEventListener("abort", () => fail(stop.reason));
  });
}

/** @param {string} why */
function show(why) {
  if (form) {
    const said = form.querySelector(".why");
    if (why && said) said.textContent = why;
    return;
  }
  const field = h("input", { type: "password", id: "api-key", name: "key", autocomplete: "current-password", spellcheck: "false", required: true });
  form = h(
    "form",
    { class: "key-form", "aria-label": "API key", onsubmit: (/** @type {Event} */ event) => take(event, field.value) },
    h("label", { for: "api-key" }, "This mesh wants an API key"),
    h("div", { class: "row" }, field, h("button", { class: "primary", type: "submit" }, "Use it")),
    h("p", { class: "why", role: "status" }, why || "Whoever runs the mesh makes one with: echo-mesh keys add NAME. It stays in this browser."),
  );
  document.body.append(form);
  field.focus();
}

/** @param {Event} event @param {string} key */
function take(event, key) {
  event.preventDefault();
  if (!key.trim()) return;
  localStorage.setItem(KEPT, key.trim());
  form?.remove();
  form = undefined;
  const served = waiting;
  waiting = [];
  for (const go of served) go();
}

/** Shows how the key is forgotten, while there is one. */
function forgettable() {
  const button = document.getElementById("forget-key");
  if (!button || !kept() || !button.hidden) return;
  button.hidden = false;
  button.addEventListener("click", () => {
    localStorage.removeItem(KEPT);
    location.reload();
  });
}
