// What is chosen on the page: a threshold, ranges of axes, labels; kept in the page's address.

class View {
  constructor(axes, labels, start) {
    this.axes = new Map(axes.map((axis) => [axis.name, axis]));
    this.labels = new Map(labels.map((label) => [label.name, label]));
    this.start = start;
    this.listeners = [];
    this.reset();
  }

  reset() {
    this.top = this.start.keepTop;
    this.min = this.start.minQuality;
    this.ranges = new Map();
    this.picks = new Map();
    this.order = "threshold";
  }

  listen(listener) {
    this.listeners.push(listener);
  }

  change(edit) {
    edit(this);
    history.replaceState(null, "", `#${this.address()}`);
    this.tell();
  }

  tell() {
    for (const listener of this.listeners) listener();
  }

  keepTop(share) {
    this.change(() => {
      this.top = share;
      this.min = null;
    });
  }

  keepFrom(min) {
    this.change(() => {
      this.top = null;
      this.min = min;
    });
  }

  // Select the bins from `low` to before `high`; all of them is no condition.
  select(name, low, high) {
    const bins = this.axes.get(name).edges.length + 1;
    this.change(() => {
      if (low <= 0 && high >= bins) this.ranges.delete(name);
      else this.ranges.set(name, [low, high]);
    });
  }

  toggle(name, code) {
    this.change(() => {
      const codes = new Set(this.picks.get(name));
      if (!codes.delete(code)) codes.add(code);
      if (codes.size) this.picks.set(name, codes);
      else this.picks.delete(name);
    });
  }

  drop(name) {
    this.change(() => {
      this.ranges.delete(name);
      this.picks.delete(name);
    });
  }

  dropAll() {
    this.change(() => {
      this.ranges.clear();
      this.picks.clear();
    });
  }

  // Pairs of a column's name and which of its codes pass.
  *conditions() {
    for (const [name, [low, high]] of this.ranges) {
      const allows = new Uint8Array(256);
      allows.fill(1, low, high);
      yield [name, allows];
    }
    for (const [name, codes] of this.picks) {
      const allows = new Uint8Array(256);
      for (const code of codes) allows[code] = 1;
      yield [name, allows];
    }
  }

  address() {
    const words = new URLSearchParams();
    if (this.top !== null) words.set("top", this.top);
    else words.set("min", this.min);
    for (const [name, [low, high]] of this.ranges) {
      const { edges } = this.axes.get(name);
      words.set(name, `${low > 0 ? edges[low - 1] : ""}..${edges[high - 1] ?? ""}`);
    }
    for (const [name, codes] of this.picks)
      for (const code of codes) words.append(name, this.labels.get(name).names[code]);
    if (this.order !== "threshold") words.set("order", this.order);
    return words.toString();
  }

  // Take over what an address says, as far as this page knows of it.
  read(address) {
    const words = new URLSearchParams(address);
    this.reset();
    const number = (name) =>
      words.get(name) && isFinite(words.get(name)) ? Number(words.get(name)) : null;
    if (number("top") !== null)
      [this.top, this.min] = [Math.min(Math.max(number("top"), 0), 1), null];
    else if (number("min") !== null) [this.top, this.min] = [null, number("min")];
    for (const [name, { edges }] of this.axes) {
      const [low, high] = words.get(name)?.split("..") ?? [];
      if (high === undefined) continue;
      const place = (text) => firstAtLeast(edges, Number(text)) + 1;
      const range = [low === "" ? 0 : place(low), high === "" ? edges.length + 1 : place(high)];
      if (range[0] < range[1] && range.every(Number.isInteger)) this.ranges.set(name, range);
    }
    for (const [name, { names }] of this.labels) {
      const codes = words
        .getAll(name)
        .map((text) => names.indexOf(text))
        .filter((code) => code >= 0);
      if (codes.length) this.picks.set(name, new Set(codes));
    }
    if (words.has("order")) this.order = words.get("order");
  }

  get isSelecting() {
    return this.ranges.size + this.picks.size > 0;
  }

  // The condition in SQL, as `filter --where` takes it; empty for all rows.
  where() {
    const terms = [];
    for (const [name, [low, high]] of this.ranges) {
      const { sql, edges } = this.axes.get(name);
      if (low > 0) terms.push(`${sql} >= ${plainly(edges[low - 1])}`);
      if (high <= edges.length) terms.push(`${sql} < ${plainly(edges[high - 1])}`);
    }
    for (const [name, codes] of this.picks) {
      const { sql, literals } = this.labels.get(name);
      const values = [...codes].sort((a, b) => a - b).map((code) => literals[code]);
      const known = values.filter((value) => value !== null);
      const either = [];
      if (known.length === 1) either.push(`${sql} = ${known[0]}`);
      if (known.length > 1) either.push(`${sql} IN (${known.join(", ")})`);
      if (known.length < values.length) either.push(`${sql} IS NULL`);
      terms.push(either.length > 1 ? `(${either.join(" OR ")})` : either[0]);
    }
    return terms.join(" AND ");
  }

  // The words of `filter` that keep what the page says is kept.
  rule() {
    const words = [];
    const where = this.where();
    if (this.picks.has("error"))
      words.push("--min-quality", plainly(this.min ?? 0), "--errors", "keep");
    else if (this.top > 0) words.push("--keep-top", plainly(this.top));
    else words.push("--min-quality", plainly(this.min ?? Infinity));
    if (where) words.push("--where", where);
    return words;
  }
}

// A number without an exponent, which SQL would take for one of 64 bits.
function plainly(value) {
  if (value === Infinity) return "1e9";
  const text = String(value);
  return text.includes("e") ? value.toFixed(20).replace(/\.?0+$/, "") : text;
}

// Quote a word for a shell.
function quoted(word) {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'"'"'`)}'`;
}

// An axis' range, for people.
function rangeText({ edges, unit }, low, high) {
  const text = (edge) => thousands(edge / unit);
  if (low <= 0) return `below ${text(edges[high - 1])}`;
  if (high > edges.length) return `${text(edges[low - 1])} and more`;
  return `${text(edges[low - 1])} to ${text(edges[high - 1])}`;
}
