// Server-sent events out of the body of a fetch, which can post and be stopped as an EventSource cannot.

/** @typedef {{event: string, id: string, data: string}} ServerEvent */

/** Takes text as it comes and gives the events that are whole. */
export class Events {
  #rest = "";

  /**
   * @param {string} text
   * @returns {ServerEvent[]}
   */
  take(text) {
    const lines = (this.#rest + text).replaceAll("\r\n", "\n").split("\n\n");
    this.#rest = lines.pop() ?? "";
    return lines.map(read).filter((event) => event.data !== "");
  }
}

/** @param {string} block @returns {ServerEvent} */
function read(block) {
  const event = { event: "message", id: "", data: "" };
  for (const line of block.split("\n")) {
    const at = line.indexOf(":");
    const name = at < 0 ? line : line.slice(0, at);
    const value = at < 0 ? "" : line.slice(at + 1).replace(/^ /, "");
    if (name === "data") event.data += event.data ? `\n${value}` : value;
    else if (name === "event") event.event = value;
    else if (name === "id") event.id = value;
  }
  return event;
}

/**
 * @param {Response} response
 * @param {() => void} heard Something came, be it a sign of life only.
 * @returns {AsyncGenerator<ServerEvent>}
 */
export async function* eventsOf(response, heard) {
  if (!response.body) return;
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  const events = new Events();
  try {
    for (;;) {
      const { value, done } = await reader.read();
      heard();
      if (done) return;
      yield* events.take(decoder.decode(value, { stream: true }));
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
