// What both JavaScript clients' checks share: where the mesh is, and a way to see that an engine has stopped.

import assert from "node:assert/strict";

export const EDGE = process.env.ECHO_EDGE_URL;
// An edge that wants no key takes any.
export const KEY = process.env.ECHO_KEY ?? "any";
const ENGINE = process.env.ECHO_ENGINE_URL;
export const LONG = "count [tokens=3000] [delay=10]";
// Before the first of its tokens, and between them, pass several signs of life.
export const SLOW = "[tokens=2] [first=4000] [delay=4000]";
export const WEATHER = {
  type: "function",
  function: {
    name: "weather",
    description: "The weather of a city",
    parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  },
};

export const tokens = (count) => Array.from({ length: count }, (_, index) => `t${index} `).join("");
export const ask = (content) => [{ role: "user", content }];

async function counters() {
  return (await fetch(`${ENGINE}/counters`)).json();
}

/** Runs something that ends an answer early, and waits until the engine has noticed. */
export async function stopsTheEngine(cancel) {
  const before = (await counters()).cancelled;
  await cancel();
  const giveUp = Date.now() + 5000;
  for (let seen = await counters(); seen.cancelled === before || seen.running; seen = await counters()) {
    assert(Date.now() < giveUp, `the engine still works: ${JSON.stringify(seen)}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Runs something while `fetch` gives up after much shorter silences than its usual 300 s. */
export async function impatiently(act) {
  const place = Symbol.for("undici.globalDispatcher.1");
  const usual = globalThis[place];
  globalThis[place] = new usual.constructor({ headersTimeout: 2000, bodyTimeout: 2000 });
  try {
    await act();
  } finally {
    globalThis[place] = usual;
  }
}

export async function refuses(call, expected) {
  await assert.rejects(call, (error) => {
    for (const [name, value] of Object.entries(expected)) assert.equal(error[name], value, `${name}: ${error}`);
    return true;
  });
}

export async function run(checks) {
  for (const check of checks) {
    await check();
    console.log("ok", check.name);
  }
}
