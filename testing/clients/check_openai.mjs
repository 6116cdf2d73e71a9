// The mesh through OpenAI's own JavaScript client.

import assert from "node:assert/strict";
import { EDGE, KEY, LONG, SLOW, WEATHER, ask, impatiently, refuses, run, stopsTheEngine, tokens } from "./common.mjs";
import OpenAI from "openai";

const client = new OpenAI({ baseURL: `${EDGE}/v1`, apiKey: KEY, maxRetries: 0 });
const chats = client.chat.completions;
const model = "able";

async function chat() {
  const answer = await chats.create({ model, messages: ask("[tokens=5]"), reasoning_effort: "none" });
  assert.equal(answer.choices[0].message.content, tokens(5));
  assert.deepEqual([answer.choices[0].finish_reason, answer.usage.completion_tokens], ["stop", 5]);
}

async function streaming() {
  const options = { stream: true, stream_options: { include_usage: true } };
  let said = "";
  let usage;
  for await (const part of await chats.create({ model, messages: ask("[tokens=5]"), ...options })) {
    said += part.choices[0]?.delta.content ?? "";
    usage = part.usage ?? usage;
  }
  assert.equal(said, tokens(5));
  assert(usage.completion_tokens > 0);
}

async function headers() {
  const { response } = await chats.create({ model, messages: ask("[tokens=1]") }).withResponse();
  assert.equal(response.headers.get("x-echo-node"), "node-a");
}

async function tools() {
  const answer = await chats.create({ model, messages: ask("weather?"), tools: [WEATHER] });
  const { finish_reason: reason, message } = answer.choices[0];
  const call = message.tool_calls[0];
  assert.deepEqual([reason, call.function.name], ["tool_calls", "weather"]);
  assert.deepEqual(JSON.parse(call.function.arguments), { city: "Oslo", at: [1, 2] });
  const messages = [...ask("[tokens=2]"), message, { role: "tool", tool_call_id: call.id, content: "rain" }];
  assert.equal((await chats.create({ model, messages })).choices[0].message.content, tokens(2));
}

async function schema() {
  const form = { type: "object", properties: { text: { type: "string" } } };
  const response_format = { type: "json_schema", json_schema: { name: "said", schema: form, strict: true } };
  const answer = await chats.create({ model, messages: ask("[tokens=2]"), response_format });
  assert.deepEqual(JSON.parse(answer.choices[0].message.content), { text: tokens(2) });
}

async function choices() {
  const body = { model, messages: ask("[tokens=3]"), n: 3, reasoning_effort: "none" };
  const answer = await chats.create(body);
  assert.deepEqual(answer.choices.map((choice) => choice.message.content), Array(3).fill(tokens(3)));
  const said = ["", "", ""];
  for await (const part of await chats.create({ ...body, stream: true })) {
    for (const choice of part.choices) said[choice.index] += choice.delta.content ?? "";
  }
  assert.deepEqual(said, Array(3).fill(tokens(3)));
}

async function completions() {
  const answer = await client.completions.create({ model, prompt: "[tokens=3]" });
  assert.equal(answer.choices[0].text, tokens(3));
}

async function embeddings() {
  const answer = await client.embeddings.create({ model: "vectors", input: ["one", "two"] });
  assert.deepEqual(answer.data.map((item) => item.embedding.length), [8, 8]);
}

async function models() {
  const ids = [];
  for await (const entry of client.models.list()) ids.push(entry.id);
  assert(ids.includes("able:latest"), `${ids}`);
  assert.equal((await client.models.retrieve("able")).id, "able");
}

async function slowly() {
  await impatiently(async () => {
    const texts = [];
    for await (const part of await chats.create({ model, messages: ask(SLOW), stream: true, reasoning_effort: "none" })) {
      texts.push(part.choices[0].delta.content ?? "");
    }
    assert(texts.join("") === tokens(2) && texts.length > 8, `${texts}`);
  });
}

async function errors() {
  await refuses(() => chats.create({ model: "nobody", messages: ask("x") }), { status: 404, code: "model_not_found" });
  await refuses(() => chats.create({ model, messages: ask("x"), n: 9 }), { status: 400, param: "n" });
  const messages = ask("[tokens=9] [delay=5] [fault=error@3]");
  const response_format = { type: "json_object" };
  await assert.rejects(async () => {
    for await (const part of await chats.create({ model, messages, stream: true, response_format })) assert(part);
  }, /scripted fault/);
}

async function cancelByAborting() {
  await stopsTheEngine(async () => {
    const stream = await chats.create({ model, messages: ask(LONG), stream: true });
    await stream[Symbol.asyncIterator]().next();
    stream.controller.abort();
  });
}

await run([
  chat, streaming, headers, tools, schema, choices, completions, embeddings, models, slowly, errors, cancelByAborting,
]);
