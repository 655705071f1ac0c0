// Groups of the corpus as rows: what the threshold keeps of each, and how that differs.

const FIRST_GROUPS = 10;

function makeGroups(view, label, axis) {
  const body = byId("groups-body");
  const more = byId("groups-all");
  let order = { by: "scored", down: true };
  let rows = [];
  let all = false;
  const keys = {
    name: (row) => row.code,
    scored: (row) => row.scored,
    median: (row) => row.median,
    share: (row) => row.kept / row.scored,
    change: (row) => row.kept / row.scored,
  };
  const arrange = () => {
    const key = keys[order.by];
    const turn = order.down ? -1 : 1;
    rows.sort((a, b) => turn * (key(a) - key(b)) || a.code - b.code);
    const picked = view.picks.get(label.name);
    const shown = rows.filter(({ code }, place) => all || place < FIRST_GROUPS || picked?.has(code));
    body.replaceChildren(...shown.map((row) => partRow(view, label, row)));
    more.hidden = shown.length === rows.length;
    more.textContent = `Show all ${rows.length}`;
    for (const head of document.querySelectorAll("[data-sort]")) {
      const own = head.dataset.sort === order.by;
      head.closest("th").ariaSort = own ? (order.down ? "descending" : "ascending") : "none";
    }
  };
  for (const head of document.querySelectorAll("[data-sort]"))
    head.onclick = () => {
      const by = head.dataset.sort;
      order = { by, down: order.by === by ? !order.down : by !== "name" };
      arrange();
    };
  more.onclick = () => {
    all = true;
    arrange();
    body.querySelector(".pick").focus();
  };
  byId("groups-section").hidden = label.names.length < 2;
  byId("groups-rare").textContent = label.rare
    ? `Only the ${thousands(label.names.length)} largest are shown; ${thousands(label.rare)} others are smaller.`
    : "";
  return (seen) => {
    const counts = countLabels(seen, label.name, label.names.length, axis.edges.length + 1);
    const whole = { scored: 0, kept: 0 };
    const isSeen = seen.isSeenBy(label.name);
    for (let row = 0; row < seen.rows.scored; row++)
      if (isSeen(row)) {
        whole.scored++;
        if (seen.isKept(row)) whole.kept++;
      }
    rows = counts.map((count, code) => ({ ...count, code, whole })).filter(({ scored }) => scored);
    const focused = document.activeElement?.dataset?.group;
    arrange();
    if (focused) body.querySelector(`[data-group="${CSS.escape(focused)}"]`)?.focus();
  };
}

function partRow(view, label, { code, scored, kept, median, bars: counts, whole }) {
  const cell = (text, name = "n") => make("td", { className: name, textContent: text });
  const button = make("button", {
    type: "button",
    className: "pick",
    textContent: label.names[code],
    onclick: () => view.toggle(label.name, code),
  });
  button.dataset.group = label.names[code];
  button.setAttribute("aria-pressed", Boolean(view.picks.get(label.name)?.has(code)));
  const chart = svg(
    "svg",
    {
      viewBox: `0 0 ${counts.length} 100`,
      preserveAspectRatio: "none",
      role: "img",
      "aria-label": `histogram of quality, median ${median.toFixed(3)}`,
    },
    svg("path", { class: "kept", d: bars(counts, Math.max(...counts)) }),
  );
  const share = kept / scored;
  const change = 100 * (share - (whole.scored ? whole.kept / whole.scored : 0));
  const bar = make("i");
  bar.style.width = `${100 * share}%`;
  const arrow = make("i", { className: change < 0 ? "less" : "more" });
  arrow.style.width = `${Math.min(Math.abs(change), 100) / 2}%`;
  const sign = change < 0 ? "−" : "+";
  return make(
    "tr",
    {},
    make("th", { scope: "row" }, button),
    cell(thousands(scored)),
    make("td", { className: "spark" }, chart),
    cell(median.toFixed(3), "n median"),
    cell(percent(kept, scored)),
    make("td", { className: "bar", ariaHidden: "true" }, bar),
    cell(`${sign}${Math.abs(change).toFixed(1)}`),
    make("td", { className: "change", ariaHidden: "true" }, arrow),
  );
}
