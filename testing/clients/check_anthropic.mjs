// The mesh through Anthropic's own JavaScript client.

import assert from "node:assert/strict";
import { EDGE, KEY, LONG, SLOW, ask, impatiently, refuses, run, stopsTheEngine, tokens } from "./common.mjs";
import Anthropic from "@anthropic-ai/sdk";

const client = new Anthropic({ baseURL: EDGE, apiKey: KEY, maxRetries: 0 });
const { messages } = client;
const SAME = { model: "able", max_tokens: 1024 };
const TOOLS = ["weather", "time"].map((name) => ({
  name,
  input_schema: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
}));
// Two calls at once, and what is said when their results have come.
const BOTH = 'tell me [call=weather {"city": "Oslo"}] [call=time {"city": "Lima", "at": "noon"}] [tokens=2]';

const text = (message) => message.content.map((block) => (block.type === "text" ? block.text : "")).join("");

async function whole() {
  const answer = await messages.create({ ...SAME, system: "be brief", messages: ask("[tokens=5]") });
  assert.equal(text(answer), tokens(5));
  assert.deepEqual([answer.stop_reason, answer.role, answer.model], ["end_turn", "assistant", "able"]);
  assert(answer.usage.input_tokens > 0 && answer.usage.output_tokens >= 5, JSON.stringify(answer.usage));
  const limited = await messages.create({ ...SAME, max_tokens: 2, messages: ask("[tokens=5] [thoughts=0]") });
  assert.deepEqual([text(limited), limited.stop_reason], [tokens(2), "max_tokens"]);
}

async function streaming() {
  const kinds = [];
  let said = "";
  for await (const event of await messages.create({ ...SAME, messages: ask("[tokens=5]"), stream: true })) {
    kinds.push(event.type);
    said += event.delta?.text ?? "";
  }
  assert.equal(said, tokens(5));
  assert.deepEqual([kinds[0], ...kinds.slice(-2)], ["message_start", "message_delta", "message_stop"]);
}

async function helpers() {
  const texts = [];
  const stream = messages.stream({ ...SAME, messages: ask("[tokens=5]") }).on("text", (part) => texts.push(part));
  const final = await stream.finalMessage();
  assert.deepEqual([texts.join(""), text(final), final.stop_reason], [tokens(5), tokens(5), "end_turn"]);
  assert(texts.length > 2 && final.usage.output_tokens >= 5, JSON.stringify(final));
  assert.equal(await messages.stream({ ...SAME, messages: ask("[tokens=3] [thoughts=0]") }).finalText(), tokens(3));
}

async function thinking() {
  const body = { ...SAME, max_tokens: 2048, thinking: { type: "enabled", budget_tokens: 1024 }, messages: ask("[tokens=3]") };
  const thought = [];
  const stream = messages.stream(body).on("thinking", (part) => thought.push(part));
  for (const answer of [await messages.create(body), await stream.finalMessage()]) {
    assert.deepEqual(answer.content.map((block) => block.type), ["thinking", "text"]);
    assert.equal(answer.content[0].thinking, "h0 h1 ");
  }
  assert.equal(thought.join(""), "h0 h1 ");
}

async function tools() {
  const body = { ...SAME, messages: ask(BOTH), tools: TOOLS };
  for (const answer of [await messages.create(body), await messages.stream(body).finalMessage()]) {
    const calls = answer.content.filter((block) => block.type === "tool_use");
    assert.equal(answer.stop_reason, "tool_use");
    assert.deepEqual(calls.map((call) => [call.name, call.input]), [
      ["weather", { city: "Oslo" }],
      ["time", { city: "Lima", at: "noon" }],
    ]);
    const results = calls.map((call) => ({ type: "tool_result", tool_use_id: call.id, content: "rain" }));
    const told = [...ask(BOTH), { role: "assistant", content: answer.content }, ...ask(results)];
    const last = await messages.create({ ...body, messages: told });
    assert.deepEqual([text(last), last.stop_reason], [tokens(2), "end_turn"]);
  }
}

async function pictures() {
  const source = { type: "base64", media_type: "image/png", data: "iVBORw0KGgo=" };
  const parts = [{ type: "image", source }, { type: "text", text: "see [tokens=1]" }];
  assert.equal(text(await messages.create({ ...SAME, messages: ask(parts) })), tokens(1));
}

async function counting() {
  const { input_tokens } = await messages.countTokens({ model: "able", messages: ask("one two three") });
  assert(input_tokens > 0, `${input_tokens}`);
}

async function models() {
  const ids = [];
  for await (const entry of client.models.list({ limit: 1000 })) ids.push(entry.id);
  assert(ids.includes("able:latest") && ids.includes("vectors:latest"), `${ids}`);
  assert.equal((await client.models.retrieve("able")).type, "model");
}

async function slowly() {
  await impatiently(async () => {
    const stream = messages.stream({ ...SAME, messages: ask(SLOW) });
    assert.equal(text(await stream.finalMessage()), tokens(2));
  });
}

async function errors() {
  const unknown = { model: "nobody", max_tokens: 9, messages: ask("x") };
  for (const body of [unknown, { ...unknown, stream: true }]) {
    await refuses(() => messages.create(body), { status: 404, type: "not_found_error" });
    await assert.rejects(() => messages.create(body), Anthropic.NotFoundError);
  }
  await refuses(() => messages.create({ ...SAME, messages: [] }), { status: 400, type: "invalid_request_error" });
  await assert.rejects(() => messages.create({ ...SAME, messages: [] }), Anthropic.BadRequestError);
  // What has to be JSON cannot go on elsewhere.
  const output_config = { format: { type: "json_schema", schema: { type: "object" } } };
  const body = { ...SAME, messages: ask("[tokens=9] [delay=5] [fault=error@3]"), output_config };
  await assert.rejects(() => messages.stream(body).finalMessage(), /scripted fault/);
}

async function cancelByAborting() {
  await stopsTheEngine(async () => {
    const stream = messages.stream({ ...SAME, messages: ask(LONG) });
    await stream[Symbol.asyncIterator]().next();
    stream.abort();
  });
}

await run([whole, streaming, helpers, thinking, tools, pictures, counting, models, slowly, errors, cancelByAborting]);
