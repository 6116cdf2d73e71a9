// The page in a real Chromium, on a real mesh. What it needs is in the environment:
//   ECHO_EDGE_URL, ECHO_CHROMIUM, ECHO_SHOTS (a folder for screenshots)

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const EDGE = process.env.ECHO_EDGE_URL;
const SHOTS = process.env.ECHO_SHOTS;
const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const PATIENCE = 20_000;

const browser = await chromium.launch({ executablePath: process.env.ECHO_CHROMIUM, args: ["--no-sandbox", "--disable-gpu"] });
/** What must never happen, noted wherever it does. */
const wrong = [];
/** A killed edge or a refused request is part of some checks. */
let expected = [];

async function open(size, scheme = "light", path = "/", reducedMotion = "no-preference") {
  const context = await browser.newContext({ viewport: size, colorScheme: scheme, reducedMotion, deviceScaleFactor: 1 });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type()) && !expected.some((text) => message.text().includes(text))) wrong.push(`console: ${message.text()}`);
  });
  page.on("pageerror", (error) => wrong.push(`page error: ${error}`));
  page.on("dialog", (dialog) => {
    wrong.push(`a dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  page.on("request", (request) => {
    const url = request.url();
    if (!url.startsWith(EDGE) && !url.startsWith("data:") && !url.startsWith("blob:")) wrong.push(`a request to ${url}`);
  });
  await page.goto(EDGE + path);
  await page.locator("#live[data-is=live]").waitFor();
  return page;
}

const NODES = ["node-a", "node-b", "node-c"];
const DESKTOP = { width: 1280, height: 800 };
const PHONE = { width: 390, height: 844 };

const told = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** Whoever runs this has the mesh in hand: does to a part of it what is said on stdout, and answers by a line. */
async function mesh(what, part) {
  console.log(`mesh: ${what} ${part}`);
  assert.equal((await told.next()).value, "done", `${what} ${part}`);
}

const seen = (page, view) => page.locator(`#view-${view}`);
const card = (page, node) => page.locator(`.card[data-node="${node}"]`);
const word = (page, node) => card(page, node).locator(".word");
const say = (text, more = "") => `Please answer. [say=${encodeURIComponent(text)}] ${more}`;

async function go(page, view) {
  await page.locator(`.tabs a[data-view=${view}]`).click();
  await page.locator(`#view-${view}`).waitFor();
}

async function send(page, text) {
  await page.getByRole("textbox", { name: "Message", exact: true }).fill(text);
  await page.getByRole("button", { name: "Send" }).click();
}

const lastText = (page) => page.locator(".msg.assistant .text").last();
const idle = (page) => page.getByRole("button", { name: "Send" }).waitFor();

async function until(what, ask) {
  const giveUp = Date.now() + PATIENCE;
  for (;;) {
    const seen = await ask();
    if (seen) return seen;
    assert(Date.now() < giveUp, `${what}: not seen in time`);
    await new Promise((done) => setTimeout(done, 50));
  }
}

async function nothingSeriousForScreenReaders(page, where) {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  const serious = violations.filter((found) => ["serious", "critical"].includes(found.impact));
  assert.deepEqual(serious.map((found) => `${where}: ${found.id}: ${found.nodes.map((node) => `${node.html} ${node.failureSummary}`).join(" | ")}`), []);
}

async function fits(page, where) {
  const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert(over <= 0, `${where} scrolls sideways by ${over}`);
}

function fleetNode(index) {
  const status = index % 17 === 0 ? "silent" : index % 5 === 0 ? "busy" : index % 29 === 0 ? "draining" : "idle";
  return {
    status, active: status === "busy" ? 2 : 0, slots: 2, made: index, host: "10.0.0.1", port: 9001, version: "0.1.0", since: Date.now() - 5e6,
    models: [{ name: "mistral:latest", loaded: index % 2 === 0, can: ["completion"] }], engine: { kind: "ollama", version: "0.33.0" },
    memory: { total: 64e9, free: 3e10 }, disk: { total: 1e12, free: 5e11 }, ...(status === "silent" ? { heard: Date.now() - 9000 } : {}),
  };
}

/** Somebody asks, until the signal. */
async function streams(model, content, signal) {
  const body = JSON.stringify({ model, stream: true, messages: [{ role: "user", content }] });
  const asked = fetch(`${EDGE}/v1/chat/completions`, { method: "POST", signal, headers: { "content-type": "application/json" }, body });
  await asked.then((reply) => reply.text()).catch(() => undefined);
}

/** The text of a long scripted answer, each token once and in order. */
const counted = (count) => Array.from({ length: count }, (_, index) => `t${index}`).join(" ");

const checks = {
  async the_page_shows_every_node() {
    const page = await open(DESKTOP);
    for (const node of NODES) await card(page, node).waitFor();
    assert.equal(await word(page, "node-a").textContent(), "Ready");
    assert.equal(await page.title(), "Mesh · Echo");
    await page.context().close();
  },

  async a_chat_streams_and_says_where_it_is_answered_and_why() {
    const page = await open(DESKTOP, "light", "/#chat");
    await send(page, "count [tokens=60] [delay=30]");
    await until("a part of the answer", async () => /t3 /.test(await lastText(page).innerText()) && !/t59/.test(await lastText(page).innerText()));
    await page.locator(".foot .where", { hasText: /node-[abc]/ }).waitFor();
    await idle(page);
    assert.equal((await lastText(page).innerText()).trim(), counted(60));
    await seen(page, "chat").getByText("Why there?").last().click();
    await seen(page, "chat").getByText("Who else could have").last().waitFor();
    await nothingSeriousForScreenReaders(page, "chat");
    await page.context().close();
  },

  async stop_ends_the_work_at_the_engine() {
    const page = await open(DESKTOP, "light", "/#chat");
    await send(page, "count [tokens=5000] [delay=20]");
    await until("a part of the answer", async () => /t3 /.test(await lastText(page).innerText()));
    await page.getByRole("button", { name: "Stop" }).click();
    await page.locator(".foot", { hasText: "stopped" }).waitFor();
    await go(page, "map");
    for (const node of NODES) await until("every node to be ready", async () => (await word(page, node).textContent()) === "Ready");
    await page.context().close();
  },

  async stop_before_the_first_word_ends_the_work_too_and_chats_are_kept_and_deleted() {
    const page = await open(DESKTOP, "light", "/#chat");
    await page.getByRole("textbox", { name: "Message", exact: true }).fill("one [tokens=5000] [delay=20]");
    // Send and, before anything can have come back, Stop.
    await page.evaluate(() => [1, 2].forEach(() => document.querySelector("form")?.requestSubmit()));
    await idle(page);
    await page.getByRole("button", { name: "New chat" }).click();
    await send(page, "two [tokens=3]");
    await until("an answer", async () => (await lastText(page).innerText()).trim() === counted(3));
    await page.reload();
    const entries = page.locator(".side .open");
    assert.deepEqual(await entries.allTextContents(), ["two [tokens=3]", "one [tokens=5000] [delay=20]"]);
    await page.getByRole("button", { name: "Delete two [tokens=3]" }).click();
    await page.reload();
    assert.deepEqual(await entries.allTextContents(), ["one [tokens=5000] [delay=20]"]);
    await go(page, "map");
    for (const node of NODES) await until("every node to be ready", async () => (await word(page, node).textContent()) === "Ready");
    await page.context().close();
  },

  async two_tabs_show_one_conversation_and_a_model_that_is_away_is_kept() {
    const page = await open(DESKTOP, "light", "/#chat");
    await send(page, "one [tokens=3]");
    await until("an answer", async () => (await lastText(page).innerText()).trim() === counted(3));
    await idle(page);
    await page.evaluate(() => {
      const [key] = Object.keys(localStorage).filter((name) => name.startsWith("echo-conversation"));
      localStorage.setItem(key, JSON.stringify({ ...JSON.parse(localStorage.getItem(key)), model: "gone:latest" }));
    });
    const other = await page.context().newPage();
    await other.goto(`${EDGE}/#chat`);
    await other.locator("#live[data-is=live]").waitFor();
    await until("the model that is away", async () => (await seen(other, "chat").getByLabel("Model", { exact: true }).locator("option:checked").textContent()) === "gone (not there now)");
    await seen(other, "chat").getByLabel("Model", { exact: true }).selectOption("mistral:latest");
    await send(other, "two [tokens=4]");
    await until("the other tab's answer", async () => (await lastText(page).innerText()).trim() === counted(4));
    await page.locator(".foot", { hasText: "node-" }).last().waitFor();
    await idle(other);
    await idle(page);
    await send(page, "three [tokens=5]");
    await until("this tab's answer over there", async () => (await lastText(other).innerText()).trim() === counted(5));
    await idle(page);
    assert.deepEqual(await page.locator(".msg.user").allTextContents(), ["one [tokens=3]", "two [tokens=4]", "three [tokens=5]"]);
    await page.reload();
    assert.equal(await page.locator(".msg.user").count(), 3, "nobody's turns are lost");
    await page.context().close();
  },

  async a_killed_node_is_seen_and_its_answer_goes_on() {
    const page = await open(DESKTOP, "light", "/#chat");
    await send(page, "count [tokens=150] [delay=30]");
    await until("a part of the answer", async () => /t9 /.test(await lastText(page).innerText()));
    const where = page.locator(".foot .where").last();
    const first = (await where.innerText()).trim();
    await go(page, "map");
    await card(page, first).locator(".now li").waitFor();
    const flight = page.locator(".flyer.moved").waitFor({ state: "attached" });
    await mesh("kill", first);
    await flight;
    const moved = page.locator(".card", { has: page.locator(".moved-tag", { hasText: `from ${first}` }) });
    await moved.waitFor();
    const second = await moved.getAttribute("data-node");
    await page.locator(".lately", { hasText: `an answer of ${first} goes on at ${second}` }).waitFor();
    await until("the killed node to be silent", async () => (await word(page, first).textContent()) === "Silent");
    await go(page, "tasks");
    await page.locator("tr.task .path", { hasText: `${first} → ${second}` }).waitFor();
    await go(page, "chat");
    await idle(page);
    assert.equal((await lastText(page).innerText()).trim(), counted(150), "every token once, in order");
    assert.equal((await where.innerText()).trim(), `${first} → ${second}`);
    await go(page, "health");
    await seen(page, "health").getByText("not heard of for").waitFor();
    await mesh("start", first);
    await go(page, "map");
    await until("the node to be back", async () => (await word(page, first).textContent()) === "Ready");
    await page.context().close();
  },

  async who_wants_no_motion_gets_none() {
    const page = await open(DESKTOP, "light", "/", "reduce");
    await page.evaluate(() => {
      globalThis.flown = 0;
      new MutationObserver((seen) => seen.forEach(({ addedNodes }) => addedNodes.forEach((node) => (globalThis.flown += Number(node.classList?.contains("flyer") ?? 0))))).observe(document.body, { childList: true, subtree: true });
    });
    const busy = new AbortController();
    const asked = streams("mistral", "[tokens=500] [delay=20]", busy.signal);
    await page.locator(".now li").first().waitFor();
    const moving = await page.evaluate(() => document.getAnimations().filter((animation) => animation.playState === "running").length);
    assert.deepEqual([await page.evaluate(() => globalThis.flown), moving], [0, 0]);
    busy.abort();
    await asked;
    await page.context().close();
  },

  async a_reload_in_mid_answer_goes_on_reading() {
    const page = await open(DESKTOP, "light", "/#chat");
    await send(page, "count [tokens=120] [delay=30]");
    await until("a part of the answer", async () => /t19 /.test(await lastText(page).innerText()));
    await page.reload();
    await until("what was there before", async () => /t19 /.test(await lastText(page).innerText()));
    assert(!/t119/.test(await lastText(page).innerText()), "the reload came in mid-answer");
    await idle(page);
    assert.equal((await lastText(page).innerText()).trim(), counted(120), "every token once, in order");
    await page.context().close();
  },

  async a_node_is_drained_and_resumed() {
    const page = await open(DESKTOP, "light", "/#health");
    await page.getByRole("button", { name: "Drain node-a" }).click();
    await page.getByRole("button", { name: "Resume node-a" }).waitFor();
    await seen(page, "health").getByText("drained by its owner: it takes nothing new until it is resumed or its agent is started again.").waitFor();
    await go(page, "map");
    assert.equal(await word(page, "node-a").textContent(), "Draining");
    await go(page, "health");
    await page.getByRole("button", { name: "Resume node-a" }).click();
    await page.getByRole("button", { name: "Drain node-a" }).waitFor();
    await page.context().close();
  },

  async a_task_is_cancelled_from_the_list() {
    const page = await open(DESKTOP, "light", "/#tasks");
    const asked = fetch(`${EDGE}/task`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ prompt: "a-secret [tokens=9000] [delay=20]" }) });
    const row = page.locator("tr.task", { has: page.locator(".state[data-is=running]") });
    await row.waitFor();
    await row.locator(".more").click();
    await seen(page, "tasks").getByText("Who else could have").waitFor();
    assert(!(await page.locator("body").innerText()).includes("a-secret"), "no prompt is shown");
    expected = ["503"];
    await page.route("**/mesh/tasks/*", (route) => route.fulfill({ status: 503, json: { error: "the edge that owns it is silent" } }));
    await row.getByRole("button", { name: /Cancel/ }).click();
    const said = seen(page, "tasks").getByText("could not be cancelled: the edge that owns it is silent");
    await said.waitFor();
    assert((await said.boundingBox())?.height > 10, "everybody sees it");
    await page.unroute("**/mesh/tasks/*");
    expected = [];
    await row.getByRole("button", { name: /Cancel/ }).click();
    assert.equal((await asked).status, 409);
    await page.locator(".state[data-is=cancelled]").first().waitFor();
    await page.context().close();
  },

  async a_hostile_answer_stays_text() {
    const page = await open(DESKTOP, "light", "/#chat");
    const hostile = [
      "<script>globalThis.hacked = 1; alert(1)</script>",
      '<img src=x onerror="globalThis.hacked=1">',
      "<svg onload=alert(1)>",
      "[click](javascript:globalThis.hacked=1)",
      "[data](data:text/html,<script>alert(1)</script>)",
      "![img](https://evil.example/track.png)",
      '<iframe src="https://evil.example"></iframe>',
      "<a href='javascript:alert(1)'>link</a>",
      "```html\n<script>alert(1)</script>\n```",
      "`<img src=x onerror=alert(1)>`",
      "| <b>a</b> | [x](JAVASCRIPT:alert(1)) |\n|---|---|\n| <script>alert(2)</script> | 2 |",
      "[fine](https://example.org/page)",
    ].join("\n\n");
    await send(page, say(hostile));
    await idle(page);
    const shown = await lastText(page).innerText();
    for (const text of ["<script>globalThis.hacked = 1", "<img src=x onerror", "<svg onload", "<iframe", "<a href='javascript"]) assert(shown.includes(text), `${text} is not shown as text: ${shown}`);
    const found = await page.evaluate(() => ({
      hacked: "hacked" in globalThis,
      elements: document.querySelectorAll(".msg.assistant script, .msg.assistant img, .msg.assistant svg, .msg.assistant iframe").length,
      links: [...document.querySelectorAll(".msg.assistant a")].map((link) => [link.getAttribute("href"), link.getAttribute("rel")]),
    }));
    assert.equal(found.hacked, false);
    assert.equal(found.elements, 0);
    for (const [href, rel] of found.links) assert(href.startsWith("https://") && rel.includes("noopener"), href);
    assert(found.links.some(([href]) => href === "https://example.org/page"));
    await page.context().close();
  },

  async an_image_is_sent_and_a_setting_too() {
    const page = await open(DESKTOP, "light", "/#chat");
    const dot = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
    await page.locator("input[type=file]").setInputFiles({ name: "dot.png", mimeType: "image/png", buffer: Buffer.from(dot, "base64") });
    await page.getByRole("button", { name: "Remove image 1" }).waitFor();
    await page.getByRole("button", { name: "Settings" }).click();
    await page.getByLabel("System prompt").fill("Be brief.");
    await page.getByLabel("Temperature").fill("0.3");
    const [request] = await Promise.all([page.waitForRequest((it) => it.url().endsWith("/v1/responses")), send(page, "look [tokens=3]")]);
    const body = request.postDataJSON();
    assert.equal(body.instructions, "Be brief.");
    assert.equal(body.temperature, 0.3);
    assert(body.input[0].content[0].image_url.startsWith("data:image/"));
    await idle(page);
    assert.equal((await lastText(page).innerText()).trim(), counted(3));
    await page.context().close();
  },

  async keys_alone_are_enough() {
    const page = await open(DESKTOP);
    await page.keyboard.press("Tab");
    assert.equal(await page.evaluate(() => document.activeElement?.textContent), "Skip to content");
    for (let index = 0; index < 4; index += 1) await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    await page.locator("#view-chat").waitFor();
    await page.getByRole("textbox", { name: "Message", exact: true }).focus();
    await page.keyboard.type("[tokens=4]");
    await page.keyboard.press("Enter");
    await until("an answer", async () => (await lastText(page).innerText()).trim() === counted(4));
    await page.context().close();
  },

  async an_edge_that_goes_is_told_and_its_return_too() {
    const page = await open(DESKTOP);
    expected = ["ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE_CHUNKED_ENCODING", "ERR_CONNECTION_RESET", "ERR_EMPTY_RESPONSE"];
    await mesh("kill", "edge");
    await page.locator("#live[data-is=old]", { hasText: "Old, reconnecting" }).waitFor();
    await mesh("start", "edge");
    await page.locator("#live[data-is=live]").waitFor();
    await card(page, "node-a").waitFor();
    expected = [];
    await page.context().close();
  },

  async a_mesh_without_its_broker_is_told_and_its_return_too() {
    const page = await open(DESKTOP);
    await mesh("kill", "broker");
    await page.locator("#live[data-is=old]", { hasText: "the edge has lost the broker" }).waitFor();
    await mesh("start", "broker");
    await page.locator("#live[data-is=live]").waitFor();
    await until("the node to be ready", async () => (await word(page, "node-a").textContent()) === "Ready");
    await page.context().close();
  },

  async a_busy_mesh_that_loses_a_node_is_worth_a_picture() {
    const pages = await Promise.all(["light", "dark"].map((scheme) => open({ width: 1280, height: 720 }, scheme)));
    const busy = new AbortController();
    const asks = Array.from({ length: 4 }, (_, index) => streams(index === 0 ? "qwen3" : "mistral", `[tokens=9000] [delay=${30 + 9 * index}]`, busy.signal));
    const [page] = pages;
    await until("all of them to be answered", async () => Number(await page.locator(".totals b").nth(2).textContent()) > 60);
    // For the picture's sake: a sparkline is of the time that has passed.
    await new Promise((done) => setTimeout(done, 10_000));
    // Two nodes have room for all four.
    const lost = await page.locator(".card", { has: page.locator(".now li") }).last().getAttribute("data-node");
    await mesh("kill", lost);
    await page.locator(".moved-tag:visible").first().waitFor();
    await until("the killed node to be silent", async () => (await word(page, lost).textContent()) === "Silent");
    await new Promise((done) => setTimeout(done, 4_000));
    for (const [index, scheme] of ["light", "dark"].entries()) {
      await pages[index].screenshot({ path: `${SHOTS}/page-map-${scheme}.png` });
      await pages[index].context().close();
    }
    busy.abort();
    await Promise.all(asks);
    await mesh("start", lost);
  },

  async fifty_nodes_and_a_thousand_fit() {
    for (const [size, count] of [[DESKTOP, 50], [PHONE, 50], [DESKTOP, 1000], [PHONE, 1000]]) {
      const nodes = Object.fromEntries(Array.from({ length: count }, (_, index) => [`node-${index}`, fleetNode(index)]));
      const context = await browser.newContext({ viewport: size });
      const page = await context.newPage();
      // So many agents do not run here: the edge's first word is said in its place.
      await page.route("**/mesh/watch", (route) => route.fulfill({ contentType: "text/event-stream", body: `event: snapshot\nid: 0\ndata: ${JSON.stringify({ at: Date.now(), mesh: { connected: true, orchestrator: "o" }, nodes, tasks: {} })}\n\n` }));
      await page.goto(EDGE);
      const shown = page.locator(count > 60 ? ".cell" : ".card");
      await until(`${count} nodes`, async () => (await shown.count()) === count);
      await fits(page, `${count} nodes at ${size.width}`);
      if (count > 60) {
        await page.getByRole("button", { name: /^node-7:/ }).click();
        await page.locator(".chosen .card h2", { hasText: "node-7" }).waitFor();
      }
      await page.screenshot({ path: `${SHOTS}/nodes-${count}-${size.width}.png` });
      await context.close();
    }
  },

  async it_looks_right_on_every_screen() {
    const pace = "[delay=45]";
    const code = "A binary search halves what is left with each step, so it takes **about log₂ n** steps.\n\n```python\ndef find(items, wanted):\n    low, high = 0, len(items)\n    while low < high:\n        middle = (low + high) // 2\n        if items[middle] < wanted:\n            low = middle + 1\n        else:\n            high = middle\n    return low\n```\n\n- The list must be sorted.\n- `bisect.bisect_left` of the standard library does the same.\n\nFor a million items that is twenty steps instead of a million.";
    const busy = new AbortController();
    const asks = [1, 2].map(() => streams("mistral", `[tokens=9000] ${pace}`, busy.signal));
    for (const [name, size] of [["desktop", DESKTOP], ["phone", PHONE]]) for (const scheme of ["light", "dark"]) {
      const page = await open(size, scheme, "/#chat");
      await send(page, say(code, "[delay=16]").replace("Please answer.", "How does a binary search work?"));
      await idle(page);
      await page.evaluate(() => { const asked = document.querySelector(".msg.user"); if (asked) asked.textContent = "How does a binary search work?"; document.activeElement?.blur(); });
      for (const view of ["chat", "map", "tasks", "health"]) {
        await go(page, view);
        if (view === "map") await until("a pace", async () => Number(await page.locator(".totals b").nth(2).textContent()) > 0);
        await nothingSeriousForScreenReaders(page, `${view}, ${name}, ${scheme}`);
        await fits(page, `${view}, ${name}`);
        await page.screenshot({ path: `${SHOTS}/${view}-${name}-${scheme}.png` });
      }
      await page.context().close();
    }
    busy.abort();
    await Promise.all(asks);
  },
};

const only = process.argv[2];
for (const [name, check] of Object.entries(checks)) {
  if (only && !name.includes(only)) continue;
  await check();
  assert.deepEqual(wrong, [], name);
  console.log("ok", name);
}
await browser.close();
process.exit(0);
