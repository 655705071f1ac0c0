// All rows, from the worst to the best, those without a score last; and what a view makes of them.

async function unpackRows({ rows, scored, data }, axes, labels) {
  const packed = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  const quality = new Float32Array(scored);
  const bits = new Uint32Array(quality.buffer);
  let rank = 0;
  for (let row = 0; row < scored; row++) {
    rank +=
      bytes[row] +
      256 * bytes[scored + row] +
      65536 * bytes[2 * scored + row] +
      16777216 * bytes[3 * scored + row];
    bits[row] = rank & 0x80000000 ? rank ^ 0x80000000 : ~rank;
  }
  const codes = new Map();
  [...axes, ...labels].forEach(({ name }, place) => {
    const begin = 4 * scored + place * rows;
    codes.set(name, bytes.subarray(begin, begin + rows));
  });
  return { count: rows, scored, quality, codes };
}

// As Python rounds, and so `filter`: a half goes to the even neighbour.
function roundHalfEven(value) {
  const low = Math.floor(value);
  if (value - low !== 0.5) return Math.round(value);
  return low % 2 ? low + 1 : low;
}

function firstAtLeast(sorted, value) {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

// What a view selects and keeps. `misses` counts by row the conditions that it fails, and `missed`
// is the last of them: a histogram shows the rows that fail no other condition than its own.
function look(rows, view) {
  const misses = new Uint8Array(rows.count);
  const missed = new Uint8Array(rows.count);
  const conditions = new Map();
  for (const [name, allows] of view.conditions()) {
    const number = conditions.size;
    const codes = rows.codes.get(name);
    conditions.set(name, number);
    for (let row = 0; row < rows.count; row++)
      if (!allows[codes[row]]) {
        misses[row]++;
        missed[row] = number;
      }
  }
  let selected = 0;
  let scored = 0;
  for (let row = 0; row < rows.count; row++)
    if (!misses[row]) {
      selected++;
      if (row < rows.scored) scored++;
    }
  const [first, kept] = cut(rows, view, misses, scored);
  return {
    rows,
    selected,
    scored,
    first,
    kept,
    threshold: view.min ?? (first < rows.scored ? rows.quality[first] : Infinity),
    isSelected: (row) => !misses[row],
    isKept: (row) => row >= first && row < rows.scored,
    // Selected, but for the condition of this name.
    isSeenBy: (name) => {
      const own = conditions.get(name) ?? -1;
      return (row) => !misses[row] || (misses[row] === 1 && missed[row] === own);
    },
  };
}

// The first row that a threshold keeps, and how many selected ones follow.
function cut(rows, view, misses, scored) {
  let kept = 0;
  if (view.top === null) {
    const first = firstAtLeast(rows.quality, Math.fround(view.min));
    for (let row = first; row < rows.scored; row++) if (!misses[row]) kept++;
    return [first, kept];
  }
  const wanted = roundHalfEven(view.top * scored);
  let first = rows.scored;
  while (kept < wanted) if (!misses[--first]) kept++;
  return [first, kept];
}

// Counts by code of a column, of all rows that a histogram sees and of those that are kept.
function countByCode(seen, name, size) {
  const { rows } = seen;
  const codes = rows.codes.get(name);
  const isSeen = seen.isSeenBy(name);
  const all = new Uint32Array(size);
  const kept = new Uint32Array(size);
  for (let row = 0; row < rows.count; row++) {
    const code = codes[row];
    if (code >= size || !isSeen(row)) continue;
    all[code]++;
    if (seen.isKept(row)) kept[code]++;
  }
  return { all, kept };
}

// Of each label: scored and kept rows, their median quality, and a histogram of it.
function countLabels(seen, name, size, bins) {
  const { rows } = seen;
  const codes = rows.codes.get(name);
  const isSeen = seen.isSeenBy(name);
  const quality = rows.codes.get("quality");
  const found = Array.from({ length: size }, () => ({
    scored: 0,
    kept: 0,
    median: NaN,
    bars: new Uint32Array(bins),
  }));
  for (let row = 0; row < rows.scored; row++) {
    const own = found[codes[row]];
    if (!own || !isSeen(row)) continue;
    own.scored++;
    own.bars[quality[row]]++;
    if (seen.isKept(row)) own.kept++;
  }
  const passed = new Uint32Array(size);
  for (let row = 0; row < rows.scored; row++) {
    const own = found[codes[row]];
    if (!own || !isSeen(row)) continue;
    const place = passed[codes[row]]++;
    if (place === (own.scored - 1) >> 1) own.median = rows.quality[row];
    else if (place === own.scored >> 1) own.median = (own.median + rows.quality[row]) / 2;
  }
  return found;
}
