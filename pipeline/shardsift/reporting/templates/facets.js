// Histograms to drag across, and labels to pick, each counted as the other choices leave it.

function makeFacets(view, axes, labels) {
  const drawn = [
    ...axes.map((axis) => makeHistogram(view, axis)),
    ...labels.filter(({ name }) => name !== "group").map((label) => makePicks(view, label)),
  ];
  byId("facets-body").replaceChildren(...drawn.map(([element]) => element));
  return (seen) => {
    for (const [, draw] of drawn) draw(seen);
  };
}

function makeHistogram(view, axis) {
  const bins = axis.edges.length + 1;
  const all = svg("path", { class: "all" });
  const kept = svg("path", { class: "kept" });
  const brush = svg("rect", { class: "brush", y: 0, height: 100 });
  const chart = svg(
    "svg",
    { viewBox: `0 0 ${bins} 100`, preserveAspectRatio: "none", "aria-hidden": "true" },
    brush,
    all,
    kept,
  );
  const range = make("span", { className: "range" });
  const ends = ["from", "to"].map((end) =>
    make("input", {
      type: "range",
      min: 0,
      max: bins,
      step: 1,
      ariaLabel: `${axis.label}, ${end}`,
    }),
  );
  const plot = make("div", { className: "plot" }, chart, ...ends);
  const under = make("div", { className: "ticks" }, ...tickLabels(axis, 3));
  under.setAttribute("aria-hidden", "true");
  const figure = make(
    "figure",
    { className: "facet" },
    make("figcaption", {}, axis.label, range),
    plot,
    under,
  );
  figure.dataset.axis = axis.name;
  for (const input of ends)
    input.oninput = () => {
      const [low, high] = ends.map(({ value }) => Number(value));
      if (low < high) view.select(axis.name, low, high);
      else [ends[0].value, ends[1].value] = view.ranges.get(axis.name) ?? [0, bins];
    };
  dragAcross(
    plot,
    bins,
    (low, high) => view.select(axis.name, low, high),
    () => view.drop(axis.name),
  );
  const draw = (seen) => {
    const counts = countByCode(seen, axis.name, bins);
    const peak = Math.max(...counts.all, 1);
    all.setAttribute("d", bars(counts.all, peak));
    kept.setAttribute("d", bars(counts.kept, peak));
    const chosen = view.ranges.get(axis.name);
    const [low, high] = chosen ?? [0, bins];
    figure.classList.toggle("chosen", Boolean(chosen));
    range.textContent = chosen ? rangeText(axis, low, high) : "";
    brush.setAttribute("x", low);
    brush.setAttribute("width", chosen ? high - low : 0);
    [ends[0].value, ends[1].value] = [low, high];
    for (const input of ends)
      input.setAttribute(
        "aria-valuetext",
        axis.edges.length ? rangeText(axis, chosen ? low : 0, chosen ? high : bins) : "all",
      );
  };
  return [figure, draw];
}

// Whoever drags chooses the bins passed over; a click alone drops the choice.
function dragAcross(plot, bins, choose, drop) {
  let begin = null;
  const place = (event) => {
    const box = plot.getBoundingClientRect();
    return Math.min(Math.max(((event.clientX - box.left) / box.width) * bins, 0), bins);
  };
  plot.onpointerdown = (event) => {
    begin = place(event);
    plot.setPointerCapture(event.pointerId);
    event.preventDefault();
  };
  plot.onpointermove = (event) => {
    if (begin === null) return;
    const [low, high] = [begin, place(event)].sort((a, b) => a - b);
    if (high - low > 0.3) choose(Math.floor(low), Math.max(Math.ceil(high), Math.floor(low) + 1));
  };
  plot.onpointerup = (event) => {
    if (begin !== null && Math.abs(place(event) - begin) <= 0.3) drop();
    begin = null;
  };
  plot.onpointercancel = () => {
    begin = null;
  };
}

function makePicks(view, label) {
  const rows = label.names.map((name, code) => {
    const count = make("span", { className: "n" });
    const button = make(
      "button",
      { type: "button", className: "pick", onclick: () => view.toggle(label.name, code) },
      make("span", { textContent: name }),
      count,
    );
    button.dataset.label = label.name;
    return { button, count };
  });
  const box = make(
    "fieldset",
    { className: "facet" },
    make("legend", { textContent: label.label }),
    ...rows.map(({ button }) => button),
  );
  if (label.rare)
    box.append(
      make("p", { className: "quiet", textContent: `and ${thousands(label.rare)} rarer ones` }),
    );
  rove(box, ".pick");
  for (const { button } of rows.slice(1)) button.tabIndex = -1;
  const draw = (seen) => {
    const { all } = countByCode(seen, label.name, rows.length);
    rows.forEach(({ button, count }, code) => {
      count.textContent = thousands(all[code]);
      button.setAttribute("aria-pressed", Boolean(view.picks.get(label.name)?.has(code)));
    });
  };
  return [box, draw];
}
