// Figures for people.

/** @param {number} bytes */
export function size(bytes) {
  if (!(bytes > 0)) return "0 B";
  const units = ["B", "kB", "MB", "GB", "TB"];
  const power = Math.min(Math.floor(Math.log10(bytes) / 3), units.length - 1);
  const value = bytes / 1000 ** power;
  return `${value < 10 && power > 0 ? value.toFixed(1) : Math.round(value)} ${units[power]}`;
}

/** How long something takes: 40 ms, 1.2 s, 3 min 5 s. @param {number} ms */
export function span(ms) {
  if (!Number.isFinite(ms)) return "–";
  const positive = Math.max(0, ms);
  if (positive < 1000) return `${Math.round(positive)} ms`;
  if (positive < 10_000) return `${(positive / 1000).toFixed(1)} s`;
  if (positive < 60_000) return `${Math.round(positive / 1000)} s`;
  const minutes = Math.floor(positive / 60_000);
  if (minutes < 60) return `${minutes} min ${Math.round((positive % 60_000) / 1000)} s`;
  if (minutes < 1440) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return `${Math.floor(minutes / 1440)} d ${Math.floor((minutes % 1440) / 60)} h`;
}

/** @param {number} value */
export function rate(value) {
  if (!Number.isFinite(value) || value <= 0) return "0";
  return value < 10 ? value.toFixed(1) : String(Math.round(value));
}

/** @param {number} count @param {string} one @param {string} [many] */
export function count(count, one, many = `${one}s`) {
  return `${count} ${count === 1 ? one : many}`;
}

/** `mistral:latest` is `mistral` to people. @param {string | undefined} model */
export function modelName(model) {
  return (model ?? "").replace(/:latest$/, "");
}
