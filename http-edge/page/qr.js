// A QR code of a short text: bytes, error correction M, versions 1 to 10 (ISO/IEC 18004).

/** For each version: codewords of error correction in a block, then how many blocks of how many data codewords. */
const BLOCKS = [
  [10, 1, 16, 0, 0], [16, 1, 28, 0, 0], [26, 1, 44, 0, 0], [18, 2, 32, 0, 0], [24, 2, 43, 0, 0],
  [16, 4, 27, 0, 0], [18, 4, 31, 0, 0], [22, 2, 38, 2, 39], [22, 3, 36, 2, 37], [26, 4, 43, 1, 44],
];
const ALIGNMENT = [[], [6, 18], [6, 22], [6, 26], [6, 30], [6, 34], [6, 22, 38], [6, 24, 42], [6, 26, 46], [6, 28, 50]];

const EXP = /** @type {number[]} */ ([]);
const LOG = /** @type {number[]} */ ([]);
for (let i = 0, x = 1; i < 255; i += 1) {
  EXP[i] = x;
  LOG[x] = i;
  x = (x << 1) ^ (x & 128 ? 0x11d : 0);
}
/** @param {number} a @param {number} b */
const times = (a, b) => (a && b ? EXP[(LOG[a] + LOG[b]) % 255] : 0);

/**
 * Rows of modules, true where dark; undefined where the text is too long.
 * @param {string} text
 * @param {number} [wanted] The mask; without one it is the one that is read most easily.
 * @returns {boolean[][] | undefined}
 */
export function qr(text, wanted) {
  const bytes = [...new TextEncoder().encode(text)];
  const version = BLOCKS.findIndex(([, n1, k1, n2, k2], index) => bytes.length <= n1 * k1 + n2 * k2 - (index < 9 ? 2 : 3)) + 1;
  if (version === 0) return undefined;
  const bits = interleaved(dataOf(bytes, version), version);
  /** @type {{grid: boolean[][], penalty: number} | undefined} */
  let best;
  for (let mask = 0; mask < 8; mask += 1) {
    if (wanted !== undefined && wanted !== mask) continue;
    const grid = drawn(bits, version, mask);
    const penalty = penaltyOf(grid);
    if (!best || penalty < best.penalty) best = { grid, penalty };
  }
  return best?.grid;
}

/** @param {number[]} bytes @param {number} version */
function dataOf(bytes, version) {
  const [, n1, k1, n2, k2] = BLOCKS[version - 1];
  const capacity = n1 * k1 + n2 * k2;
  let bits = "0100" + bytes.length.toString(2).padStart(version < 10 ? 8 : 16, "0");
  bits += bytes.map((byte) => byte.toString(2).padStart(8, "0")).join("");
  bits += "0".repeat(Math.min(4, capacity * 8 - bits.length));
  bits += "0".repeat((8 - (bits.length % 8)) % 8);
  const words = (bits.match(/.{8}/g) ?? []).map((word) => parseInt(word, 2));
  for (let pad = 0xec; words.length < capacity; pad ^= 0xec ^ 0x11) words.push(pad);
  return words;
}

/** The remainder of the data by the generator polynomial. @param {number[]} data @param {number} degree */
function correction(data, degree) {
  let generator = [1];
  for (let i = 0; i < degree; i += 1) {
    const next = [...generator, 0];
    generator.forEach((value, at) => (next[at + 1] ^= times(value, EXP[i])));
    generator = next;
  }
  const rest = [...data, ...new Array(degree).fill(0)];
  for (let i = 0; i < data.length; i += 1) {
    const factor = rest[i];
    generator.forEach((value, at) => (rest[i + at] ^= times(value, factor)));
  }
  return rest.slice(data.length);
}

/** @param {number[]} data @param {number} version @returns {number[]} bits */
function interleaved(data, version) {
  const [degree, n1, k1, n2, k2] = BLOCKS[version - 1];
  const blocks = [];
  for (let i = 0, at = 0; i < n1 + n2; i += 1) {
    const length = i < n1 ? k1 : k2;
    blocks.push(data.slice(at, at + length));
    at += length;
  }
  const checks = blocks.map((block) => correction(block, degree));
  const words = [];
  for (let i = 0; i < Math.max(k1, k2); i += 1) for (const block of blocks) if (i < block.length) words.push(block[i]);
  for (let i = 0; i < degree; i += 1) for (const check of checks) words.push(check[i]);
  return words.flatMap((word) => [7, 6, 5, 4, 3, 2, 1, 0].map((bit) => (word >> bit) & 1));
}

/** @type {((x: number, y: number) => boolean)[]} */
const MASKS = [
  (x, y) => (x + y) % 2 === 0,
  (_, y) => y % 2 === 0,
  (x) => x % 3 === 0,
  (x, y) => (x + y) % 3 === 0,
  (x, y) => (Math.floor(y / 2) + Math.floor(x / 3)) % 2 === 0,
  (x, y) => ((x * y) % 2) + ((x * y) % 3) === 0,
  (x, y) => (((x * y) % 2) + ((x * y) % 3)) % 2 === 0,
  (x, y) => (((x + y) % 2) + ((x * y) % 3)) % 2 === 0,
];

/** @param {number[]} bits @param {number} version @param {number} mask */
function drawn(bits, version, mask) {
  const size = 17 + 4 * version;
  /** @type {boolean[][]} */
  const grid = Array.from({ length: size }, () => new Array(size).fill(false));
  /** @type {boolean[][]} */
  const fixed = Array.from({ length: size }, () => new Array(size).fill(false));
  const set = (/** @type {number} */ x, /** @type {number} */ y, /** @type {boolean} */ dark) => {
    if (x < 0 || y < 0 || x >= size || y >= size) return;
    grid[y][x] = dark;
    fixed[y][x] = true;
  };
  for (let i = 8; i < size - 8; i += 1) {
    set(6, i, i % 2 === 0);
    set(i, 6, i % 2 === 0);
  }
  for (const [cx, cy] of [[3, 3], [size - 4, 3], [3, size - 4]]) {
    for (let dy = -4; dy <= 4; dy += 1) for (let dx = -4; dx <= 4; dx += 1) {
      const ring = Math.max(Math.abs(dx), Math.abs(dy));
      set(cx + dx, cy + dy, ring !== 2 && ring !== 4);
    }
  }
  const centres = ALIGNMENT[version - 1];
  const last = centres.length - 1;
  centres.forEach((cy, i) => centres.forEach((cx, j) => {
    if ((i === 0 && j === 0) || (i === 0 && j === last) || (i === last && j === 0)) return;
    for (let dy = -2; dy <= 2; dy += 1) for (let dx = -2; dx <= 2; dx += 1) set(cx + dx, cy + dy, Math.max(Math.abs(dx), Math.abs(dy)) !== 1);
  }));
  const format = withCheck(mask, 10, 0x537) ^ 0x5412;
  for (let i = 0; i < 15; i += 1) {
    const dark = ((format >> i) & 1) === 1;
    set(8, i < 6 ? i : i < 8 ? i + 1 : size - 15 + i, dark);
    set(i < 8 ? size - 1 - i : i < 9 ? 7 : 14 - i, 8, dark);
  }
  set(8, size - 8, true);
  if (version >= 7) {
    const told = withCheck(version, 12, 0x1f25);
    for (let i = 0; i < 18; i += 1) {
      const [a, b] = [size - 11 + (i % 3), Math.floor(i / 3)];
      set(a, b, ((told >> i) & 1) === 1);
      set(b, a, ((told >> i) & 1) === 1);
    }
  }
  let at = 0;
  for (let right = size - 1; right >= 1; right -= 2) {
    if (right === 6) right = 5;
    for (let step = 0; step < size; step += 1) for (const x of [right, right - 1]) {
      const y = ((right + 1) & 2) === 0 ? size - 1 - step : step;
      if (fixed[y][x]) continue;
      grid[y][x] = (bits[at] === 1) !== MASKS[mask](x, y);
      at += 1;
    }
  }
  return grid;
}

/** A number with the remainder of its division behind it. @param {number} value @param {number} length @param {number} by */
function withCheck(value, length, by) {
  let rest = value;
  for (let i = 0; i < length; i += 1) rest = (rest << 1) ^ ((rest >> (length - 1)) * by);
  return (value << length) | rest;
}

/** How hard a grid is to read. @param {boolean[][]} grid */
function penaltyOf(grid) {
  const size = grid.length;
  const lines = [...grid, ...grid.map((_, x) => grid.map((row) => row[x]))];
  let penalty = 0;
  for (const line of lines) {
    const text = line.map((dark) => (dark ? "1" : "0")).join("");
    for (const run of text.match(/0{5,}|1{5,}/g) ?? []) penalty += run.length - 2;
    for (const pattern of ["10111010000", "00001011101"]) {
      for (let at = text.indexOf(pattern); at >= 0; at = text.indexOf(pattern, at + 1)) penalty += 40;
    }
  }
  let dark = 0;
  for (let y = 0; y < size; y += 1) for (let x = 0; x < size; x += 1) {
    dark += Number(grid[y][x]);
    if (x > 0 && y > 0 && grid[y][x] === grid[y - 1][x] && grid[y][x] === grid[y][x - 1] && grid[y][x] === grid[y - 1][x - 1]) penalty += 3;
  }
  return penalty + 10 * Math.floor(Math.abs((dark * 20) / (size * size) - 10));
}
