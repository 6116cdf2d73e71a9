// The mesh through Ollama's own JavaScript client.

import assert from "node:assert/strict";
import { EDGE, KEY, LONG, SLOW, WEATHER, ask, impatiently, refuses, run, stopsTheEngine, tokens } from "./common.mjs";
import { Ollama } from "ollama";

const client = new Ollama({ host: EDGE, headers: { Authorization: `Bearer ${KEY}` } });
const model = "able";

async function chat() {
  const answer = await client.chat({ model, messages: ask("[tokens=5]"), think: false });
  assert.equal(answer.message.content, tokens(5));
  assert.equal(answer.done_reason, "stop");
  assert.equal(answer.eval_count, 5);
}

async function streaming() {
  let said = "";
  let thought = "";
  let ends = 0;
  for await (const part of await client.chat({ model, messages: ask("[tokens=5]"), stream: true })) {
    said += part.message.content;
    thought += part.message.thinking ?? "";
    ends += part.done ? 1 : 0;
  }
  assert.deepEqual([said, thought, ends], [tokens(5), "h0 h1 ", 1]);
}

async function generate() {
  const answer = await client.generate({ model, prompt: "[tokens=4]", options: { num_predict: 2 } });
  assert.deepEqual([answer.response, answer.done_reason], [tokens(2), "length"]);
}

async function tools() {
  const answer = await client.chat({ model, messages: ask("weather?"), tools: [WEATHER] });
  const call = answer.message.tool_calls[0].function;
  assert.deepEqual([call.name, call.arguments], ["weather", { city: "Oslo", at: [1, 2] }]);
}

async function schema() {
  const format = { type: "object", properties: { text: { type: "string" } } };
  const answer = await client.chat({ model, messages: ask("[tokens=2]"), format });
  assert.deepEqual(JSON.parse(answer.message.content), { text: tokens(2) });
}

async function embeddings() {
  const answer = await client.embed({ model: "vectors", input: ["one", "two"] });
  assert.deepEqual(answer.embeddings.map((vector) => vector.length), [8, 8]);
  assert.equal((await client.embeddings({ model: "vectors", prompt: "one" })).embedding.length, 8);
}

async function models() {
  const names = (await client.list()).models.map((entry) => entry.name);
  assert(names.includes("able:latest") && names.includes("vectors:latest"), `${names}`);
  assert((await client.show({ model })).capabilities.includes("tools"));
  assert(Array.isArray((await client.ps()).models));
  assert((await client.version()).version);
}

async function slowly() {
  await impatiently(async () => {
    const texts = [];
    for await (const part of await client.chat({ model, messages: ask(SLOW), stream: true, think: false })) {
      texts.push(part.message.content);
    }
    assert(texts.join("") === tokens(2) && texts.length > 8, `${texts}`);
  });
}

async function errors() {
  await refuses(() => client.chat({ model: "nobody", messages: ask("x") }), { status_code: 404 });
  await refuses(() => client.chat({ model: "nobody", messages: ask("x"), stream: true }), { status_code: 404 });
  await refuses(() => client.pull({ model: "fresh" }), { status_code: 403 });
  const messages = ask("[tokens=9] [delay=5] [fault=error@3]");
  await assert.rejects(async () => {
    for await (const part of await client.chat({ model, messages, stream: true, format: "json" })) assert(part);
  }, /scripted fault/);
}

async function cancelByAborting() {
  await stopsTheEngine(async () => {
    const stream = await client.chat({ model, messages: ask(LONG), stream: true });
    await stream[Symbol.asyncIterator]().next();
    stream.abort();
  });
}

await run([chat, streaming, generate, tools, schema, embeddings, models, slowly, errors, cancelByAborting]);
