// The logic of the page, without a browser: node --test.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { mock, test } from "node:test";

// A browser that keeps a key.
const browser = { getItem: (name) => (name === "echo-api-key" ? "echo-k" : null), setItem: () => {}, removeItem: () => {} };
globalThis.localStorage = browser;
globalThis.document = { getElementById: () => null };

const page = (name) => import(new URL(`../../http-edge/page/${name}.js`, import.meta.url));
const { merge } = await page("merge");
const { Events } = await page("sse");
const { sha256, shownAs } = await page("sha256");
const { qr } = await page("qr");
const { inline, parse, safe } = await page("markdown");
const { bounded, heard, load, save, ROOM } = await page("conversations");
const { ask, cancel, follow, request, take } = await page("responses");
const { keepOnly } = await page("dom");
const { Pace, paths } = await page("spark");
const facts = await page("facts");
const news = await page("news");
const text = await page("text");

const task = (more) => ({ state: "running", nodes: [], attempt: 1, began: 0, tokens: 0, ...more });
const node = (more) => ({
  status: "idle", active: 0, slots: 1, made: 0, models: [{ name: "m", can: [] }], engine: { kind: "ollama" },
  memory: { total: 100, free: 50 }, disk: { total: 100, free: 50 }, host: "h", port: 1, version: "1", since: 0, ...more,
});
const mesh = (nodes, more = {}) => ({ mesh: { connected: true, orchestrator: "o", ...more }, nodes, tasks: {} });

test("a merge patch is applied as RFC 7396 says", () => {
  for (const [target, patch, merged] of [
    [{ a: "b" }, { a: "c" }, { a: "c" }],
    [{ a: "b", b: "c" }, { a: null }, { b: "c" }],
    [{ a: ["b"] }, { a: "c" }, { a: "c" }],
    [{ a: { b: "c" } }, { a: { b: "d", c: null } }, { a: { b: "d" } }],
    [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
    [["a"], { a: 1 }, { a: 1 }],
    [{ e: 1 }, { a: { b: 1 } }, { e: 1, a: { b: 1 } }],
  ]) assert.deepEqual(merge(structuredClone(target), patch), merged);
  assert.equal(merge({}, JSON.parse('{"__proto__": {"evil": true}}')).evil, undefined);
});

test("events are read whatever pieces they come in", () => {
  const stream = 'event: a\nid: 1\ndata: {"x":\ndata: 1}\n\n: comment\n\ndata: two\r\n\r\ndata: 3\n\n';
  const whole = new Events().take(stream);
  assert.deepEqual(whole, [
    { event: "a", id: "1", data: '{"x":\n1}' },
    { event: "message", id: "", data: "two" },
    { event: "message", id: "", data: "3" },
  ]);
  const bytewise = new Events();
  assert.deepEqual([...stream].flatMap((letter) => bytewise.take(letter)), whole);
});

test("SHA-256 is node's", () => {
  for (const length of [0, 1, 3, 36, 55, 56, 63, 64, 65, 200]) {
    const said = "ä".repeat(length % 7) + "x".repeat(length);
    assert.equal(sha256(said), createHash("sha256").update(said).digest("hex"));
  }
  // The edge's own test has the same pair.
  assert.equal(shownAs("00000000-0000-0000-0000-000000000007"), "0d25a51a47b7f482");
});

test("QR codes are those of another encoder", () => {
  for (const { text: said, version, mask, sha } of JSON.parse(readFileSync(new URL("qr.vectors.json", import.meta.url), "utf8"))) {
    const grid = qr(said, mask);
    assert.equal(grid.length, 17 + 4 * version);
    const rows = grid.map((row) => row.map((dark) => (dark ? "1" : "0")).join("")).join("\n");
    assert.equal(createHash("sha256").update(rows).digest("hex"), sha, said);
  }
  assert.equal(qr("x".repeat(214)), undefined);
});

test("only http and https are links", () => {
  for (const href of ["https://example.org/a?b#c", "http://[::1]:8080/", "HTTPS://EXAMPLE.ORG"]) assert(safe(href), href);
  for (const href of [
    "javascript:alert(1)", "JaVaScRiPt:alert(1)", " javascript:alert(1)", "java\nscript:alert(1)", "data:text/html,<script>1</script>",
    "vbscript:x", "file:///etc/passwd", "//evil.example", "/status", "#chat", "https:evil", "http://", "blob:https://x/y",
  ]) assert.equal(safe(href), undefined, href);
  const links = (said) => JSON.stringify(inline(said)).match(/"href":"[^"]*"/g) ?? [];
  assert.deepEqual(links("[x](javascript:alert(1)) [y](data:text/html;base64,AAAA) <a href='javascript:1'>z</a>"), []);
  assert.deepEqual(links("[x](https://example.org) and https://example.com/a."), ['"href":"https://example.org/"', '"href":"https://example.com/a"']);
});

test("HTML in an answer is text", () => {
  const hostile = '<script>alert(1)</script> <img src=x onerror="alert(1)"> <svg/onload=alert(1)>';
  assert.deepEqual(parse(hostile), [{ kind: "paragraph", text: hostile }]);
  assert.deepEqual(inline(hostile), [{ kind: "text", text: hostile }]);
});

test("Markdown as models write it", () => {
  const blocks = parse("# One\n\nText *soft* **hard**\nnext `a*b*c`\n\n- a\n- b\n  - c\n\n1. x\n2. y\n\n```js\nlet a = `1`;\n```\n\n> said\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n---\n```py\nunfinished");
  assert.deepEqual(blocks.map((block) => block.kind), ["heading", "paragraph", "list", "list", "code", "quote", "table", "rule", "code"]);
  assert.equal(blocks[2].items.length, 2);
  assert.equal(blocks[2].items[1][1].kind, "list");
  assert.deepEqual(blocks[4], { kind: "code", language: "js", text: "let a = `1`;" });
  assert.deepEqual(blocks[6].rows, [["1", "2"]]);
  assert.equal(blocks[8].text, "unfinished");
  assert.deepEqual(inline("2 * 3 * 4 and snake_case_name").map((piece) => piece.kind), ["text"]);
  assert.deepEqual(inline("a **b** c").map((piece) => piece.kind), ["text", "strong", "text"]);
});

test("no text takes long or breaks the parser", () => {
  const began = Date.now();
  for (const evil of ["*".repeat(20_000), "[".repeat(20_000), "> ".repeat(5_000), "- ".repeat(5_000), "`".repeat(20_000), "**a ".repeat(5_000), "_a ".repeat(8_000), "|".repeat(9_000), `${"  ".repeat(200)}- x\n`.repeat(50), "[a](".repeat(5_000), "#".repeat(9_999), "http://".repeat(3_000),
    `# a${" ".repeat(100_000)}b`, `|\n${" ".repeat(100_000)}x`, `${"~".repeat(100_000)}\``, "- a\n\n".repeat(50_000), `- ${" ".repeat(100_000)}a\u2028x`, `${"- ".repeat(50_000)}x`]) {
    for (const block of parse(evil)) if ("text" in block) inline(block.text);
  }
  assert(Date.now() - began < 5_000, `${Date.now() - began} ms`);
});

test("a long line stays text, and a blank line in a list none that ends it", () => {
  assert.deepEqual(parse(`# ${"x".repeat(3_000)}`).map((block) => block.kind), ["paragraph"]);
  assert.deepEqual(parse("- a\n\n\n- b\n\n  more\n\nend").map((block) => [block.kind, block.items?.length]), [["list", 2], ["paragraph", undefined]]);
});

/** A browser's storage that holds so many characters. */
function storage(quota) {
  const store = { fetched: 0 };
  const api = {
    getItem: (key) => store[key] ?? null,
    removeItem: (key) => delete store[key],
    setItem(key, value) {
      const others = Object.keys(store).filter((other) => other !== key).reduce((sum, other) => sum + other.length + String(store[other]).length, 0);
      if (others + key.length + value.length > quota) throw new Error("QuotaExceededError");
      store[key] = value;
    },
  };
  delete store.fetched;
  globalThis.localStorage = new Proxy(api, { ownKeys: () => Object.keys(store), getOwnPropertyDescriptor: () => ({ enumerable: true, configurable: true }) });
}

const chat = (id, changed, turns) => ({ id, title: id, changed, model: "m", system: "", temperature: null, turns });
const turn = (text, image = 0) => ({ said: { text, images: image ? ["x".repeat(image)] : [] }, answer: { text: "a", state: "done" } });

test("a chat with many pictures costs its older pictures, and no other chat", () => {
  for (const quota of [5_000_000, 2_500_000]) {
    storage(quota);
    for (let index = 0; index < 10; index += 1) assert(save(chat(`small-${index}`, index, [turn("hello")])));
    const large = chat("large", 99, Array.from({ length: 13 }, (_, index) => turn(`look ${index}`, 400_000)));
    assert(save(large));
    const kept = load();
    assert.equal(kept.length, 11);
    assert.equal(kept[0].turns.length, 13, "its texts stay");
    assert.deepEqual([kept[0].turns[0].said.images.length, kept[0].turns[12].said.images.length], [0, 1]);
    assert.equal(large.turns[0].said.images.length, 1, "what is shown keeps them");
    assert.equal(bounded([large, ...kept.slice(1)]).length, 11);
  }
});

test("of a text without end its newest turns are kept, and where nothing can be kept that is said", () => {
  storage(5_000_000);
  assert(save(chat("long", 1, Array.from({ length: 5 }, (_, index) => turn(`${index}`.repeat(1_000_000))))));
  assert.deepEqual(load()[0].turns.map((one) => one.said.text[0]), ["3", "4"]);
  assert.equal(save(chat("one", 2, [turn("x".repeat(ROOM * 2))])), false);
  assert.deepEqual(load().map((one) => one.id), ["long"], "and costs no other");
});

test("what another tab has written is taken, but for an answer that runs here", () => {
  const [a, b] = [chat("a", 1, [turn("old")]), chat("b", 2, [turn("here")])];
  const written = (one) => ({ key: `echo-conversation ${one.id}`, newValue: JSON.stringify(one) });
  const newer = chat("a", 3, [turn("old"), turn("new")]);
  assert.deepEqual(heard([b, a], written(newer), () => false), [newer, b]);
  assert.deepEqual(heard([b, a], written(newer), (one) => one === a), [b, a]);
  assert.deepEqual(heard([b, a], { key: "echo-conversation a", newValue: null }, () => false), [b]);
  assert.deepEqual(heard([b], written(a), () => false), [b, a]);
  for (const other of [{ key: "echo-theme", newValue: "dark" }, { key: null, newValue: null }]) assert.deepEqual(heard([b, a], other, () => false), [b, a]);
});

test("conversations are bounded, and pictures of old ones go first", () => {
  const conversation = (changed, image) => ({ id: `${changed}`, title: "", changed, model: "", system: "", temperature: null, turns: [{ said: { text: "hello", images: image ? ["x".repeat(image)] : [] }, answer: { text: "a" } }] });
  assert.equal(bounded(Array.from({ length: 100 }, (_, index) => conversation(index))).length, 40);
  const kept = bounded([conversation(1, 600), conversation(2, 600)], 1_100);
  assert.deepEqual(kept.map((one) => [one.id, one.turns[0].said.images.length]), [["2", 1], ["1", 0]]);
  assert.deepEqual(bounded([conversation(1, 600)], 10), []);
  const text = (changed, length) => ({ ...conversation(changed), title: "x".repeat(length) });
  assert.deepEqual(bounded([text(3, 5_000), text(2, 900), text(1, 10)], 1_200).map((one) => one.id), ["1"], "what never fits costs no other");
  const turns = (changed, length) => ({ ...conversation(changed), turns: Array.from({ length }, () => ({ said: { text: "x".repeat(60), images: [] }, answer: {} })) });
  assert.deepEqual(bounded([turns(2, 10), conversation(1)], 1_200).map((one) => [one.id, one.turns.length < 10]), [["2", true], ["1", true]], "one does not take all");
});

test("an answer takes each event once, whatever comes again", () => {
  const answer = { sequence: -1, state: "running", text: "", thinking: "", began: 0 };
  const delta = (sequence_number, delta) => ({ type: "response.output_text.delta", sequence_number, delta });
  take(answer, { type: "response.created", sequence_number: 0, response: { id: "resp_1", model: "m" } });
  for (const event of [delta(1, "a"), delta(2, "b"), delta(1, "a"), delta(2, "b"), delta(3, "c")]) take(answer, event);
  take(answer, { type: "response.reasoning_text.delta", sequence_number: 4, delta: "hm" });
  assert.deepEqual([answer.id, answer.text, answer.thinking, answer.sequence, answer.state], ["resp_1", "abc", "hm", 4, "running"]);
  take(answer, { type: "response.completed", sequence_number: 5, response: { usage: { output_tokens: 3 } } });
  assert.deepEqual([answer.state, answer.tokens], ["done", 3]);
  const failed = { ...answer, sequence: -1, state: "running" };
  take(failed, { type: "response.failed", sequence_number: 1, response: { error: { message: "no node" } } });
  assert.deepEqual([failed.state, failed.error], ["failed", "no node"]);
});

/** Lets the timers of the page come, each when it is due, until something is over. */
async function passes(time, promise) {
  let over = false;
  promise.then(() => (over = true));
  for (let passed = 0; passed < time && !over; passed += 500) {
    mock.timers.tick(500);
    // Long enough for every promise that is kept by now.
    for (let turn = 0; turn < 20; turn += 1) await new Promise((done) => setImmediate(done));
  }
  assert(over, "it has not ended in its time");
}

const told = (events, headers = {}) => new Response(events.map((event) => `data: ${JSON.stringify(event)}\n\n`).join(""), { headers });
const running = (more) => ({ id: "resp_1", sequence: 3, state: "running", text: "abc", thinking: "", began: 0, ...more });
const last = [
  { type: "response.output_text.delta", sequence_number: 4, delta: "d" },
  { type: "response.completed", sequence_number: 5, response: { usage: { output_tokens: 4 } } },
];

test("an answer whose edge is out of reach goes on running, and is read to its end when the edge is back", async () => {
  mock.timers.enable({ apis: ["setTimeout", "Date"] });
  const answer = running();
  globalThis.fetch = async () => { throw new TypeError("fetch failed"); };
  const { signal } = new AbortController();
  await passes(120_000, follow(answer, signal, () => {}));
  assert.deepEqual([answer.state, answer.lost, answer.error], ["running", true, undefined]);
  globalThis.fetch = async (path) => {
    assert.equal(path, "/v1/responses/resp_1?stream=true&starting_after=3");
    return told(last);
  };
  await passes(1_000, follow(answer, signal, () => {}));
  assert.deepEqual([answer.state, answer.lost, answer.text], ["done", false, "abcd"]);
  mock.timers.reset();
});

test("a connection on which nothing comes is given up for another one, and one with signs of life is not", async () => {
  mock.timers.enable({ apis: ["setTimeout", "Date"] });
  const { signal } = new AbortController();
  for (const begin of [(answer, changed) => ask(chat("a", 1, []), answer, signal, changed), (answer, changed) => follow(answer, signal, changed)]) {
    const asked = [];
    globalThis.fetch = async (path, init) => {
      asked.push(path);
      if (asked.length > 1) return told(last);
      let signs = 0;
      const source = {
        start(stream) {
          const sign = () => {
            signs += 1;
            if (signs > 9) return;
            stream.enqueue(new TextEncoder().encode(": alive\n\n"));
            setTimeout(sign, 30_000);
          };
          sign();
          init.signal.addEventListener("abort", () => stream.error(new Error("aborted")));
        },
      };
      return new Response(new ReadableStream(source));
    };
    const answer = running();
    const began = Date.now();
    await passes(600_000, begin(answer, () => {}));
    assert.deepEqual([answer.state, answer.text, asked.length], ["done", "abcd", 2]);
    assert(Date.now() - began > 270_000, "its signs of life were heard");
  }
  mock.timers.reset();
});

test("an answer is cancelled though the first word of it is lost", async () => {
  mock.timers.enable({ apis: ["setTimeout", "Date"] });
  const replies = [new TypeError("fetch failed"), new Response("", { status: 503 }), new Response("{}")];
  globalThis.fetch = async () => {
    const reply = replies.shift();
    if (reply instanceof Error) throw reply;
    return reply;
  };
  await passes(60_000, cancel(running()));
  assert.equal(replies.length, 0);
  let asked = 0;
  globalThis.fetch = async () => new Response("", { status: 404 + 0 * (asked += 1) });
  await passes(60_000, cancel(running()));
  assert.equal(asked, 1, "what is refused is not asked again");
  mock.timers.reset();
});

test("the page is as old as what the edge knows", () => {
  const live = { freshness: "live", heard: 1_000, mesh: mesh({}) };
  assert.deepEqual(facts.badge(live, 2_000), { is: "live", word: "Live", age: "" });
  assert.equal(facts.badge({ ...live, mesh: mesh({}, { connected: undefined }) }, 2_000).is, "live");
  assert.deepEqual(facts.badge({ ...live, mesh: mesh({}, { connected: false }) }, 2_000), { is: "old", word: "Old, the edge has lost the broker", age: "" });
  assert.deepEqual(facts.badge({ ...live, freshness: "old" }, 5_000), { is: "old", word: "Old, reconnecting", age: "4.0 s" });
  assert.equal(facts.badge({ ...live, freshness: "connecting" }, 5_000).is, "connecting");
});

test("a chat keeps its model while that is away", () => {
  const known = [{ name: "b" }, { name: "c" }];
  assert.deepEqual(facts.offered(known, "a", "c"), { chosen: "a", missing: "a" });
  assert.deepEqual(facts.offered([], "a", "c"), { chosen: "a", missing: "a" });
  assert.deepEqual(facts.offered(known, "b", "c"), { chosen: "b", missing: undefined });
  assert.deepEqual(facts.offered(known, "", "c"), { chosen: "c", missing: undefined });
  assert.deepEqual(facts.offered(known, "", "gone"), { chosen: "b", missing: undefined });
  assert.deepEqual(facts.offered([], "", undefined), { chosen: "", missing: undefined });
});

test("what is kept of tasks and nodes that are gone goes", () => {
  const [map, set] = [new Map([["a", 1], ["b", 2]]), new Set(["a", "toString"])];
  keepOnly(map, { a: {} });
  keepOnly(set, { a: {} });
  assert.deepEqual([[...map.keys()], [...set]], [["a"], ["a"]]);
});

test("a request is the conversation in the words of the Responses API", () => {
  const turn = (said, answer, images = []) => ({ said: { text: said, images }, answer: { text: answer } });
  const asked = request({ model: "m", system: "be brief", temperature: 0.2, turns: [turn("hi", "hello"), turn("look", "", ["data:image/png;base64,AA"])] });
  assert.deepEqual(asked, {
    model: "m", stream: true, background: true, store: true, instructions: "be brief", temperature: 0.2,
    input: [
      { type: "message", role: "user", content: [{ type: "input_text", text: "hi" }] },
      { type: "message", role: "assistant", content: [{ type: "output_text", text: "hello" }] },
      { type: "message", role: "user", content: [{ type: "input_image", image_url: "data:image/png;base64,AA" }, { type: "input_text", text: "look" }] },
    ],
  });
  assert(!("temperature" in request({ model: "m", system: "", temperature: null, turns: [] })));
});

test("a pace is of the last seconds, and a count that begins anew is no burst", () => {
  const pace = new Pace();
  let now = 0;
  const note = (count, after = 1_000) => pace.note(count, (now += after));
  for (const count of [100, 110, 120, 130]) note(count);
  assert.equal(pace.now, 10);
  note(5);
  assert.equal(pace.now, 0);
  note(605, 60_000);
  assert.equal(pace.now, 10, "the clock of a page in the background is slow");
  pace.pause();
  note(9_000);
  assert.equal(pace.now, 0, "nobody has looked for a while");
  for (let index = 0; index < 100; index += 1) note(9_000 + index);
  assert.equal(pace.rates.length, 60);
  assert.equal(paths([], 1).line, "");
  assert(paths([0, 10], 10).line.startsWith("M58,19.50L59,0.50"));
});

test("a node that takes nothing new says whose doing it is, and whether it goes on by itself", () => {
  const paused = (more) => node({ status: "draining", ...more });
  const hours = { reason: "outside of its hours (22:00-07:00), again at 22:00", paused: "hours" };
  assert.equal(facts.reason(paused(hours), 0), `takes nothing new: ${hours.reason}`);
  assert.equal(facts.reason(paused({ ...hours, active: 1 }), 0), `finishes what it has, takes nothing new: ${hours.reason}`);
  assert.equal(facts.reason(paused({}), 0), "takes nothing new");
  const said = (more) => facts.troubles(mesh({ a: paused(more), b: node() }), 0)[0].text;
  assert.equal(said(hours), `${hours.reason}: it goes on by itself, or when it is resumed.`);
  assert.match(said({ reason: "drained by its owner", paused: "owner" }), /^drained by its owner: .* until it is resumed/);
  assert.match(said({}), /^drained: .* until it is resumed/);
});

test("troubles are said in words, the worst first", () => {
  assert.deepEqual(facts.troubles(mesh({ a: node() }), 0), []);
  const found = facts.troubles(
    mesh({ a: node({ status: "draining", version: "2" }), b: node({ status: "silent", heard: 1_000 }), c: node({ memory: { total: 100, free: 1 } }) }, { orchestrator: "" }), 6_000);
  assert.deepEqual(found.map((one) => [one.level, one.node]), [["bad", undefined], ["bad", "b"], ["warn", "a"], ["warn", "c"], ["warn", undefined]]);
  assert.match(found[1].text, /not heard of for 5\.0 s/);
  assert.equal(facts.troubles(mesh({}), 0).length, 1);
  assert.match(facts.troubles(mesh({ a: node({ models: [] }) }), 0)[0].text, /No node that is up has a model/);
});

test("tasks are listed, filtered, and have their place in line", () => {
  const tasks = {
    a: task({ state: "done", ended: 5, nodes: ["n1"], model: "m" }),
    b: task({ state: "waiting", began: 3, model: "m" }),
    c: task({ state: "running", began: 1, nodes: ["n1", "n2"], node: "n2", model: "o" }),
    d: task({ state: "waiting", began: 2, model: "m" }),
    e: task({ state: "failed", ended: 9 }),
  };
  const ids = (wanted) => facts.listed(tasks, { state: "", node: "", model: "", ...wanted }).map(([id]) => id);
  assert.deepEqual(ids({}), ["c", "b", "d", "e", "a"]);
  assert.deepEqual(ids({ node: "n1" }), ["c", "a"]);
  assert.deepEqual(ids({ model: "m", state: "waiting" }), ["b", "d"]);
  assert.deepEqual([...facts.positions(tasks)], [["d", 1], ["b", 2]]);
  assert.deepEqual([...facts.tasksByNode(tasks).keys()], ["n2"]);
});

test("an expected wait runs down, and one that has not come true is not said", () => {
  const waits = task({ state: "waiting", queued: 1_000, expected_wait_ms: 500 });
  assert.deepEqual([facts.remaining(waits, 1_200), facts.remaining(waits, 1_501)], [300, undefined]);
  assert.equal(facts.remaining({ ...waits, state: "running" }, 1_200), undefined);
  assert.equal(facts.remaining(task({ state: "waiting", queued: 1 }), 2), undefined);
});

test("what happens is told in sentences, and what does not is not", () => {
  const { newsOf } = news;
  const before = { ...mesh({ a: node(), b: node({ status: "silent" }) }), tasks: { t: task({ nodes: ["a"], tokens: 9 }) } };
  const said = (patch) => newsOf(before, patch).map((one) => one.text);
  assert.deepEqual(said({ nodes: { a: { status: "busy" }, b: { made: 3 } }, tasks: { t: { tokens: 10 } } }), []);
  assert.deepEqual(said({ nodes: { a: { status: "silent" }, b: { status: "idle" }, c: node() } }), ["a has fallen silent", "b is back", "c is in the mesh"]);
  assert.deepEqual(said({ tasks: { t: { nodes: ["a", "b"] }, u: { nodes: ["a"], state: "running" } } }), ["an answer of a goes on at b after 9 tokens"]);
  assert.deepEqual(said({ tasks: { t: { state: "failed", detail: "no" }, u: null } }), ["a task has failed: no"]);
});

test("figures are told where they were measured, and nowhere else", () => {
  const why = { node: "n", measured_ms: { wait: 100, prompt: 200, answer: 1_000 } };
  assert.equal(facts.firstToken(task({ why })), 300);
  assert.equal(facts.speed(task({ why, tokens: 51, nodes: ["n"] })), 50);
  assert.equal(facts.speed(task({ why, tokens: 51, nodes: ["n", "o"] })), undefined, "others have made a part");
  assert.equal(facts.firstToken(task({})), undefined);
  assert.deepEqual([text.span(40), text.span(1_240), text.span(185_000), text.span(90_000_000)], ["40 ms", "1.2 s", "3 min 5 s", "1 d 1 h"]);
  assert.deepEqual([text.size(0), text.size(1_500), text.size(32_000_000_000)], ["0 B", "1.5 kB", "32 GB"]);
});

test("models to ask are those of nodes that are up and can generate, the loaded ones first", () => {
  const found = facts.models(mesh({
    a: node({ models: [{ name: "big", can: ["completion"] }, { name: "embed", can: ["embedding"] }] }),
    b: node({ models: [{ name: "small", can: ["completion", "vision"], loaded: true }, { name: "big", can: ["completion"] }] }),
    c: node({ status: "silent", models: [{ name: "gone", can: [] }] }),
  }));
  assert.deepEqual(found.map((model) => [model.name, model.loaded, model.sees, model.nodes]), [["small", true, true, 1], ["big", false, false, 2]]);
});

test("a stream that breaks or falls silent is opened again, and a page that nobody sees gives its own back", async () => {
  const opened = [];
  const listeners = {};
  globalThis.document = { hidden: false, addEventListener: (kind, act) => (listeners[kind] = act), getElementById: () => null };
  globalThis.localStorage = browser;
  // The edge's end of a stream.
  globalThis.fetch = async (path, { headers, signal }) => {
    assert.deepEqual([path, headers.get("authorization")], ["/mesh/watch", "Bearer echo-k"]);
    const source = { open: true };
    const body = new ReadableStream({ start: (end) => (source.end = end) });
    source.say = (kind, data) => source.open && source.end.enqueue(new TextEncoder().encode(`event: ${kind}\ndata: ${JSON.stringify(data)}\n\n`));
    source.breaks = () => {
      if (source.open) source.end.error(new Error("broken"));
      source.open = false;
    };
    signal.addEventListener("abort", source.breaks);
    opened.push(source);
    return new Response(body);
  };
  // What was said arrives a few turns later.
  const arrives = async () => {
    for (let turn = 0; turn < 10; turn += 1) await new Promise((done) => setImmediate(done));
  };
  const passes = async (ms) => {
    mock.timers.tick(ms);
    await arrives();
  };
  mock.timers.enable({ apis: ["setInterval", "setTimeout", "Date"], now: 1_000_000 });
  const { Live } = await page("live");
  const live = new Live();
  live.begin();
  await arrives();
  const greet = () => opened.at(-1).say("snapshot", { at: 3_600_000 + Date.now(), mesh: {}, nodes: { a: { made: 1 } }, tasks: {} });
  greet();
  await arrives();
  assert.deepEqual([live.freshness, live.mesh.nodes.a.made, live.now() - Date.now()], ["live", 1, 3_600_000]);
  opened[0].say("change", { nodes: { a: { made: 2 } } });
  await arrives();
  assert.equal(live.mesh.nodes.a.made, 2);
  // A short break is no alarm, a longer one is.
  opened[0].breaks();
  await arrives();
  await passes(1_000);
  assert.deepEqual([live.freshness, opened.length], ["live", 2]);
  opened[1].breaks();
  await arrives();
  await passes(1_000);
  assert.equal(live.freshness, "old");
  await passes(2_000);
  greet();
  await arrives();
  assert.equal(live.freshness, "live");
  // Silence, too: the edge gives a sign every ten seconds.
  const before = opened.length;
  await passes(17_000);
  assert.deepEqual([live.freshness, opened.length > before], ["old", true]);
  await passes(17_000);
  assert.equal(opened.length, before + 2, "a stream that leads nowhere is opened again, too");
  greet();
  await arrives();
  document.hidden = true;
  listeners.visibilitychange();
  await arrives();
  for (let second = 0; second < 32; second += 1) {
    opened.at(-1).say("alive", {});
    await arrives();
    await passes(1_000);
  }
  assert.deepEqual([live.freshness, opened.some((source) => source.open)], ["connecting", false]);
  document.hidden = false;
  listeners.visibilitychange();
  await arrives();
  assert.deepEqual(opened.filter((source) => source.open).length, 1);
  greet();
  await arrives();
  assert.equal(live.freshness, "live");
  mock.timers.reset();
});
