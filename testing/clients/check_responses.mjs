// OpenAI's Responses through OpenAI's own JavaScript client: what agents such as Codex stand on.

import assert from "node:assert/strict";
import { EDGE, KEY, LONG, SLOW, ask, impatiently, refuses, run, stopsTheEngine, tokens } from "./common.mjs";
import OpenAI from "openai";

const client = new OpenAI({ baseURL: `${EDGE}/v1`, apiKey: KEY, maxRetries: 0 });
const { responses } = client;
const model = "able";
const TOOLS = ["weather", "time"].map((name) => ({
  type: "function",
  name,
  strict: false,
  parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
}));
// Two calls at once, and what is said when their results have come.
const BOTH = 'tell me [call=weather {"city": "Oslo"}] [call=time {"city": "Lima", "at": "noon"}] [tokens=2]';

async function collect(stream) {
  const events = [];
  for await (const event of stream) events.push(event);
  return events;
}

const texts = (events) => events.map((event) => (event.type === "response.output_text.delta" ? event.delta : "")).join("");

async function whole() {
  const answer = await responses.create({ model, input: "[tokens=5]", instructions: "be brief" });
  assert.deepEqual([answer.output_text, answer.status], [tokens(5), "completed"]);
  const { input_tokens: asked, output_tokens: made, total_tokens: total } = answer.usage;
  assert(asked > 0 && made >= 5 && total === asked + made, JSON.stringify(answer.usage));
}

async function streaming() {
  const events = await collect(await responses.create({ model, input: "[tokens=5]", stream: true }));
  assert.equal(texts(events), tokens(5));
  assert.deepEqual(events.map((event) => event.sequence_number), events.map((_, index) => index));
  assert.equal(events.at(-1).type, "response.completed");
}

async function helpers() {
  const seen = [];
  const stream = responses.stream({ model, input: "[tokens=5]" });
  stream.on("response.output_text.delta", (event) => seen.push(event.snapshot));
  const final = await stream.finalResponse();
  assert.deepEqual([seen.at(-1), final.output_text], [tokens(5), tokens(5)]);
  assert(seen.length > 2, `${seen}`);
}

async function reasoning() {
  const events = [];
  const stream = responses.stream({ model, input: "[tokens=3]", reasoning: { effort: "high", summary: "auto" } });
  for await (const event of stream) if (event.type === "response.reasoning_summary_text.delta") events.push(event.delta);
  const final = await stream.finalResponse();
  assert.equal(events.join(""), "h0 h1 ");
  assert.deepEqual(final.output.map((item) => item.type), ["reasoning", "message"]);
}

async function tools() {
  const body = { model, input: BOTH, tools: TOOLS };
  for (const answer of [await responses.create(body), await responses.stream(body).finalResponse()]) {
    const calls = answer.output.filter((item) => item.type === "function_call");
    assert.deepEqual(calls.map((call) => [call.name, JSON.parse(call.arguments)]), [
      ["weather", { city: "Oslo" }],
      ["time", { city: "Lima", at: "noon" }],
    ]);
    const results = calls.map((call) => ({ type: "function_call_output", call_id: call.call_id, output: "rain" }));
    const told = await responses.create({ ...body, input: [...ask(BOTH), ...answer.output, ...results] });
    assert.equal(told.output_text, tokens(2));
  }
}

async function schema() {
  const form = { type: "object", properties: { text: { type: "string" } }, required: ["text"], additionalProperties: false };
  const text = { format: { type: "json_schema", name: "said", schema: form, strict: true } };
  const answer = await responses.parse({ model, input: "[tokens=2]", text });
  assert.deepEqual(answer.output_parsed, { text: tokens(2) });
}

async function background() {
  const { id, status } = await responses.create({ model, input: "[tokens=40] [delay=20]", background: true });
  assert(["queued", "in_progress"].includes(status), status);
  const events = await collect(await responses.retrieve(id, { stream: true }));
  assert.deepEqual([texts(events), events.at(-1).type], [tokens(40), "response.completed"]);
  const later = await collect(await responses.retrieve(id, { stream: true, starting_after: 9 }));
  assert.deepEqual(later, events.slice(10));
  const final = await responses.stream({ response_id: id, starting_after: 9 }).finalResponse();
  assert.deepEqual([final.output_text, (await responses.retrieve(id)).output_text], [tokens(40), tokens(40)]);
}

async function cancelling() {
  const { id } = await responses.create({ model, input: LONG, background: true });
  await stopsTheEngine(() => responses.cancel(id));
  assert.equal((await responses.retrieve(id)).status, "cancelled");
}

async function kept() {
  const first = await responses.create({ model, input: "one [tokens=2]" });
  const listed = [];
  for await (const item of responses.inputItems.list(first.id)) listed.push(item.content[0].text);
  assert.deepEqual(listed, ["one [tokens=2]"]);
  const second = await responses.create({ model, input: "more [tokens=3]", previous_response_id: first.id });
  assert.equal(second.output_text, tokens(3));
  await responses.delete(first.id);
  await refuses(() => responses.retrieve(first.id), { status: 404 });
  await refuses(() => responses.create({ model, input: "x", previous_response_id: first.id }), { status: 404 });
}

async function slowly() {
  await impatiently(async () => {
    const events = await collect(await responses.create({ model, input: SLOW, stream: true }));
    assert.equal(texts(events), tokens(2));
  });
}

async function errors() {
  await refuses(() => responses.create({ model: "nobody", input: "x" }), { status: 404, code: "model_not_found" });
  await refuses(() => responses.create({ model }), { status: 400 });
  const text = { format: { type: "json_object" } };
  const broken = { model, input: "[tokens=9] [delay=5] [fault=error@3]", stream: true, text };
  const events = await collect(await responses.create(broken));
  assert.equal(events.at(-1).type, "response.failed");
  assert.match(events.at(-1).response.error.message, /scripted fault/);
}

async function cancelByAborting() {
  await stopsTheEngine(async () => {
    const stream = await responses.create({ model, input: LONG, stream: true, store: false });
    await stream[Symbol.asyncIterator]().next();
    stream.controller.abort();
  });
}

await run([whole, streaming, helpers, reasoning, tools, schema, background, cancelling, kept, slowly, errors, cancelByAborting]);
