// The page: its views, which one is seen, and how old what it shows is.

import { ChatView } from "./chat.js";
import { say } from "./dom.js";
import { badge } from "./facts.js";
import { HealthView } from "./health.js";
import { ask } from "./key.js";
import { Live } from "./live.js";
import { MapView } from "./map.js";
import { TasksView } from "./tasks.js";

const NAMES = /** @type {const} */ (["map", "tasks", "chat", "health"]);
const TITLES = { map: "Mesh", tasks: "Tasks", chat: "Chat", health: "Health" };

/** @param {string} id */
function found(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`the page has no #${id}`);
  return element;
}

const live = new Live();
const views = {
  map: new MapView(found("view-map"), live),
  tasks: new TasksView(found("view-tasks"), live),
  chat: new ChatView(found("view-chat"), live),
  health: new HealthView(found("view-health"), live, found("trouble-count")),
};

/** @param {boolean} moves The user came from another view, and goes on reading at the top of this one. */
function show(moves) {
  const asked = location.hash.slice(1);
  const name = NAMES.find((known) => known === asked) ?? "map";
  for (const known of NAMES) found(`view-${known}`).hidden = known !== name;
  for (const link of document.querySelectorAll(".tabs a")) {
    if (link.getAttribute("data-view") === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${TITLES[name]} · Echo`;
  views[name].update();
  if (moves) found("main").focus({ preventScroll: true });
  if (moves) scrollTo(0, 0);
}

function freshness() {
  const { is, word, age } = badge(live, Date.now());
  found("live").dataset.is = is;
  document.body.classList.toggle("old", is === "old");
  say(found("live-word"), word);
  say(found("live-age"), age);
}

function theme() {
  const root = document.documentElement;
  const kept = localStorage.getItem("echo-theme");
  if (kept) root.dataset.theme = kept;
  found("theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    localStorage.setItem("echo-theme", root.dataset.theme);
  });
}

/** Says it where everybody on the network may come. */
async function openness() {
  const response = await ask("/status").catch(() => undefined);
  const status = await response?.json().catch(() => undefined);
  found("open-lan").hidden = status?.edge?.open !== true;
}

function refusal() {
  found("refused").hidden = !live.refused;
  say(found("refused"), live.refused ?? "");
}

theme();
live.addEventListener("second", refusal);
openness();
for (const kind of ["freshness", "snapshot", "change", "second"]) live.addEventListener(kind, freshness);
addEventListener("hashchange", () => show(true));
show(false);
live.begin();
