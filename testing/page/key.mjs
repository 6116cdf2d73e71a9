// The page in a real Chromium at an edge that wants API keys. What it needs is in the environment:
//   ECHO_EDGE_URL, ECHO_CHROMIUM, ECHO_KEY (a good key)

import assert from "node:assert/strict";
import { chromium } from "playwright-core";

const { ECHO_EDGE_URL: edge, ECHO_KEY: key } = process.env;
const browser = await chromium.launch({ executablePath: process.env.ECHO_CHROMIUM, args: ["--no-sandbox", "--disable-gpu"] });
const context = await browser.newContext();
const page = await context.newPage();
page.setDefaultTimeout(20_000);
const errors = [];
page.on("pageerror", (error) => errors.push(String(error)));
const live = () => page.locator("#live[data-is=live]").waitFor();
const form = page.locator(".key-form");

await page.goto(edge);
await form.waitFor();
assert.equal(await page.locator(".key-form").count(), 1, "it asks once, however many requests wait");
await page.locator("#api-key").fill("echo-wrong");
await page.getByRole("button", { name: "Use it" }).click();
await page.getByText("not known here").waitFor();
await page.locator("#api-key").fill(key);
await page.getByRole("button", { name: "Use it" }).click();
await live();
assert.equal(await form.count(), 0);

await page.reload();
await live();
assert.equal(await form.count(), 0, "a key is kept");
await page.locator(".tabs a[data-view=chat]").click();
await page.getByRole("textbox", { name: "Message" }).fill("Please answer. [say=with%20a%20key]");
await page.keyboard.press("Enter");
await page.getByText("with a key", { exact: true }).first().waitFor();

await page.locator(".tabs a[data-view=tasks]").click();
await page.locator("tr.task .more").first().click();
await page.locator("#view-tasks").getByText("Asked with the key of ada.").waitFor();

await page.getByRole("button", { name: "Forget key" }).click();
await form.waitFor();
assert.equal(await page.evaluate(() => localStorage.getItem("echo-api-key")), null);
assert.ok(!page.url().includes(key), "a key stands in no address");
assert.deepEqual(errors, []);
await browser.close();
