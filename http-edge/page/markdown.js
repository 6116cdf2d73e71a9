// Markdown as models write it, made of nodes. A model is a stranger: its text becomes text, and a link leads to http or
// https or is none.

import { h } from "./dom.js";

/**
 * @typedef {{kind: "text", text: string} | {kind: "code", text: string} | {kind: "break"}
 *   | {kind: "strong" | "em" | "del", inside: Inline[]} | {kind: "link", href: string, inside: Inline[]}} Inline
 * @typedef {{kind: "paragraph", text: string} | {kind: "heading", level: number, text: string}
 *   | {kind: "code", language: string, text: string} | {kind: "quote", blocks: Block[]} | {kind: "rule"}
 *   | {kind: "list", ordered: boolean, start: number, items: Block[][]}
 *   | {kind: "table", head: string[], rows: string[][]}} Block
 */

/** Deeper lists and quotes are shown flat: no answer needs them, and no answer may break the page. */
const DEEPEST = 6;

/** A longer line is plain text: what a line is, is tried in time that grows with the square of its length. */
const LONGEST_LINE = 2000;

const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([\w+#.-]*)[^`]*$/;
const ITEM = /^( *)([-*+]|\d{1,9}[.)])(\s+)(.*)$/s;

/** @param {string} text @returns {Block[]} */
export function parse(text) {
  return blocksOf(text.replaceAll("\r\n", "\n").split("\n"), 0);
}

/** @param {string[]} lines @param {number} depth @returns {Block[]} */
function blocksOf(lines, depth) {
  /** @type {Block[]} */
  const blocks = [];
  /** @type {string[]} */
  let paragraph = [];
  const flush = () => {
    if (paragraph.length > 0) blocks.push({ kind: "paragraph", text: paragraph.join("\n") });
    paragraph = [];
  };
  for (let at = 0; at < lines.length; ) {
    const line = lines[at];
    const isLong = line.length > LONGEST_LINE;
    const fence = isLong ? null : FENCE.exec(line);
    const heading = isLong ? null : /^ {0,3}(#{1,6})\s+(.*?)\s*#*$/.exec(line);
    const item = depth < DEEPEST ? ITEM.exec(line) : null;
    if (line.trim() === "") {
      flush();
      at += 1;
    } else if (fence) {
      flush();
      const end = lines.findIndex((other, index) => index > at && other.trim().startsWith(fence[1]) && other.trim().replaceAll(fence[1][0], "") === "");
      // A fence without an end is one that is still being written.
      const to = end < 0 ? lines.length : end;
      blocks.push({ kind: "code", language: fence[2], text: lines.slice(at + 1, to).join("\n") });
      at = to + 1;
    } else if (heading) {
      flush();
      blocks.push({ kind: "heading", level: heading[1].length, text: heading[2] });
      at += 1;
    } else if (!isLong && /^ {0,3}([-*_])( *\1){2,} *$/.test(line)) {
      flush();
      blocks.push({ kind: "rule" });
      at += 1;
    } else if (/^ {0,3}>/.test(line) && depth < DEEPEST) {
      flush();
      let to = at;
      while (to < lines.length && /^ {0,3}>/.test(lines[to])) to += 1;
      blocks.push({ kind: "quote", blocks: blocksOf(lines.slice(at, to).map((quoted) => quoted.replace(/^ {0,3}> ?/, "")), depth + 1) });
      at = to;
    } else if (item && (paragraph.length === 0 || !/^\d/.test(item[2]) || item[2].startsWith("1"))) {
      flush();
      at = list(lines, at, depth, blocks);
    } else if (line.includes("|") && isRuler(lines[at + 1] ?? "")) {
      flush();
      let to = at + 2;
      while (to < lines.length && lines[to].includes("|")) to += 1;
      blocks.push({ kind: "table", head: cells(line), rows: lines.slice(at + 2, to).map(cells) });
      at = to;
    } else {
      paragraph.push(line.trimStart());
      at += 1;
    }
  }
  flush();
  return blocks;
}

/** Whether it stands between the head of a table and its rows. @param {string} line */
function isRuler(line) {
  return line.length <= LONGEST_LINE && /^ *\|?( *:?-+:? *\|)+ *:?-*:? *$/.test(line);
}

/** @param {string} line */
function cells(line) {
  return line.trim().replace(/^\||\|$/g, "").split("|").map((cell) => cell.trim());
}

/** @param {string[]} lines @param {number} from @param {number} depth @param {Block[]} blocks @returns {number} */
function list(lines, from, depth, blocks) {
  const first = /** @type {RegExpExecArray} */ (ITEM.exec(lines[from]));
  const indent = first[1].length;
  const ordered = /\d/.test(first[2]);
  /** @type {string[][]} */
  const items = [];
  let at = from;
  /** The first line from here on that is not blank. */
  let next = from;
  for (; at < lines.length; at += 1) {
    const line = lines[at];
    const item = ITEM.exec(line);
    const deep = line.length - line.trimStart().length;
    if (item && item[1].length <= indent + 1 && /\d/.test(item[2]) === ordered) items.push([item[4]]);
    else if (line.trim() === "") {
      next = Math.max(next, at + 1);
      while (next < lines.length && lines[next].trim() === "") next += 1;
      const goes = next < lines.length && (/^\s{2,}/.test(lines[next]) || ITEM.test(lines[next]));
      if (!goes) break;
      items.at(-1)?.push("");
    } else if (deep > indent) items.at(-1)?.push(line.slice(Math.min(deep, indent + 2)));
    else break;
  }
  blocks.push({ kind: "list", ordered, start: parseInt(first[2], 10) || 1, items: items.map((item) => blocksOf(item, depth + 1)) });
  return at;
}

/**
 * What stands within a line.
 * @param {string} text
 * @param {number} [depth]
 * @returns {Inline[]}
 */
export function inline(text, depth = 0) {
  /** @type {Inline[]} */
  const found = [];
  let plain = "";
  const push = (/** @type {Inline} */ piece) => {
    if (plain) found.push({ kind: "text", text: plain });
    plain = "";
    found.push(piece);
  };
  for (let at = 0; at < text.length; ) {
    const piece = depth < DEEPEST ? pieceAt(text, at, depth) : undefined;
    if (piece) {
      push(piece.piece);
      at = piece.end;
    } else if (text[at] === "\\" && /[\\`*_{}[\]()#+\-.!~|<>]/.test(text[at + 1] ?? "")) {
      plain += text[at + 1];
      at += 2;
    } else if (text[at] === "\n") {
      push({ kind: "break" });
      at += 1;
    } else {
      plain += text[at];
      at += 1;
    }
  }
  if (plain) found.push({ kind: "text", text: plain });
  return found;
}

/** @param {string} text @param {number} at @param {number} depth @returns {{piece: Inline, end: number} | undefined} */
function pieceAt(text, at, depth) {
  const sign = text[at];
  if (sign === "`") {
    const ticks = /^`+/.exec(text.slice(at, at + 8))?.[0] ?? "`";
    const end = text.indexOf(ticks, at + ticks.length);
    if (end > 0) return { piece: { kind: "code", text: text.slice(at + ticks.length, end).replace(/^ (.*) $/, "$1") }, end: end + ticks.length };
  }
  if (sign === "*" || sign === "~" || (sign === "_" && !/\w/.test(text[at - 1] ?? ""))) {
    for (const [mark, kind] of /** @type {const} */ ([["**", "strong"], ["__", "strong"], ["~~", "del"], ["*", "em"], ["_", "em"]])) {
      if (!text.startsWith(mark, at) || /\s/.test(text[at + mark.length] ?? " ")) continue;
      const end = text.indexOf(mark, at + mark.length + 1);
      if (end < 0 || /\s/.test(text[end - 1]) || end - at > 2000) continue;
      return { piece: { kind, inside: inline(text.slice(at + mark.length, end), depth + 1) }, end: end + mark.length };
    }
  }
  if (sign === "[") {
    const link = /^\[([^\]\n]{0,500})\]\(\s*<?([^\s)>]{1,2000})>?(?:\s+"[^"\n]{0,200}")?\s*\)/.exec(text.slice(at, at + 2800));
    const href = link && safe(link[2]);
    if (link && href) return { piece: { kind: "link", href, inside: inline(link[1], depth + 1) }, end: at + link[0].length };
  }
  if (sign === "h" && /^https?:\/\//.test(text.slice(at, at + 8)) && !/\w/.test(text[at - 1] ?? "")) {
    const bare = /^[^\s<>"`]{8,2000}/.exec(text.slice(at, at + 2000))?.[0].replace(/[.,;:!?)\]]+$/, "");
    const href = bare && safe(bare);
    if (bare && href) return { piece: { kind: "link", href, inside: [{ kind: "text", text: bare }] }, end: at + bare.length };
  }
  return undefined;
}

/** The address of a link that may be followed; undefined otherwise. @param {string} href */
export function safe(href) {
  if (!/^https?:\/\//i.test(href)) return undefined;
  try {
    const url = new URL(href);
    return url.protocol === "http:" || url.protocol === "https:" ? url.href : undefined;
  } catch {
    return undefined;
  }
}

/** @param {Inline[]} pieces @returns {Node[]} */
function words(pieces) {
  return pieces.map((piece) => {
    switch (piece.kind) {
      case "text":
        return document.createTextNode(piece.text);
      case "code":
        return h("code", {}, piece.text);
      case "break":
        return h("br");
      case "link":
        return h("a", { href: piece.href, target: "_blank", rel: "noopener noreferrer nofollow" }, ...words(piece.inside));
      default:
        return h(piece.kind, {}, ...words(piece.inside));
    }
  });
}

/** @param {Block} block @returns {Node} */
function element(block) {
  switch (block.kind) {
    case "heading":
      return h(block.level <= 2 ? "h3" : "h4", {}, ...words(inline(block.text)));
    case "code":
      return h("div", { class: "codebox" }, block.language ? h("span", { class: "lang" }, block.language) : null, h("pre", { tabindex: 0 }, h("code", {}, block.text)));
    case "quote":
      return h("blockquote", {}, ...block.blocks.map(element));
    case "rule":
      return h("hr");
    case "list": {
      const items = block.items.map((item) => h("li", {}, ...(item.length === 1 && item[0].kind === "paragraph" ? words(inline(item[0].text)) : item.map(element))));
      return block.ordered ? h("ol", { start: block.start }, ...items) : h("ul", {}, ...items);
    }
    case "table": {
      const row = (/** @type {"th" | "td"} */ tag, /** @type {string[]} */ line) => h("tr", {}, ...line.map((cell) => h(tag, {}, ...words(inline(cell)))));
      return h("table", {}, h("thead", {}, row("th", block.head)), h("tbody", {}, ...block.rows.map((line) => row("td", line))));
    }
    default:
      return h("p", {}, ...words(inline(block.text)));
  }
}

/** Shows a text that grows: what has not changed keeps its nodes, so that a selection in it stays. */
export class Written {
  /** @param {Element} into */
  constructor(into) {
    this.into = into;
    /** @type {string[]} */
    this.shown = [];
  }

  /** @param {string} text */
  show(text) {
    const blocks = parse(text);
    const keys = blocks.map((block) => JSON.stringify(block));
    keys.forEach((key, index) => {
      if (this.shown[index] === key) return;
      const made = element(blocks[index]);
      const old = this.into.childNodes[index];
      if (old) this.into.replaceChild(made, old);
      else this.into.append(made);
    });
    while (this.into.childNodes.length > keys.length) this.into.lastChild?.remove();
    this.shown = keys;
  }
}
