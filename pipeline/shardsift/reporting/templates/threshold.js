// The histogram that is the slider: what lies right of its handle is kept.

function makeThreshold(view, axis, presets, rows) {
  const slider = byId("slider");
  const { edges } = axis;
  const width = edges.length > 1 ? edges[1] - edges[0] : 0.01;
  const low = (edges[0] ?? 0) - width;
  const high = (edges.at(-1) ?? 0) + width;
  const step = 10 ** Math.floor(Math.log10(width / 4));
  Object.assign(slider, { min: low, max: high, step });
  // The first and the last bin have no outer end: the ends of the slider keep all, and nothing.
  const all = Math.min(low, Math.floor(1e4 * rows.quality[0]) / 1e4);
  const none = Math.max(high, Math.ceil(1e4 * rows.quality.at(-1) + 1) / 1e4);
  slider.oninput = () => {
    const value = Number(slider.value);
    if (value <= Number(slider.min)) view.keepFrom(all);
    else if (value >= low + step * Math.floor((high - low) / step)) view.keepFrom(none);
    else view.keepFrom(Number(value.toFixed(4)));
  };
  const chart = byId("slider-chart");
  const thrown = svg("path", { class: "thrown" });
  const kept = svg("path", { class: "kept" });
  chart.append(thrown, kept);
  byId("slider-ticks").replaceChildren(...tickLabels(axis, 6));
  for (const share of presets)
    byId("presets").append(
      make("button", {
        type: "button",
        value: share,
        textContent: `${Number((100 * share).toPrecision(6))} %`,
        onclick: () => view.keepTop(share),
      }),
    );
  return (seen) => {
    const { all } = countByCode(seen, "quality", edges.length + 1);
    const shown = seen.threshold === Infinity ? high : seen.threshold;
    const peak = Math.max(...all, 1);
    const size = all.length;
    const clip = Math.min(Math.max(((shown - low) / (high - low)) * size, 0), size);
    chart.setAttribute("viewBox", `0 0 ${size} 100`);
    thrown.setAttribute("d", bars(all, peak, 0, clip));
    kept.setAttribute("d", bars(all, peak, clip, size));
    slider.value = shown;
    byId("value").textContent = seen.threshold === Infinity ? "none" : seen.threshold.toFixed(4);
    slider.setAttribute(
      "aria-valuetext",
      `${shown.toFixed(4)}, keeps ${percent(seen.kept, seen.scored)}`,
    );
    for (const button of byId("presets").children)
      button.setAttribute("aria-pressed", button.value === String(view.top));
  };
}

// The share in words, and the command that keeps just that.
function makeShare(view, { filter, into, joining, sampled }) {
  const copy = byId("copy");
  copy.onclick = () => copyText(byId("command").textContent, copy);
  return (seen) => {
    const about = sampled ? " of the sample" : "";
    const what = view.isSelecting ? `selected images${about}` : `scored images${about}`;
    const [part, rest] = view.picks.has("error")
      ? [
          thousands(seen.selected),
          ` ${about.trim() || "rows"} without a score are selected: a filter drops them, this one keeps only them`,
        ]
      : [
          percent(seen.kept, seen.scored),
          ` kept: ${thousands(seen.kept)} of ${thousands(seen.scored)} ${what}`,
        ];
    byId("share").replaceChildren(make("b", { textContent: part }), rest);
    const words = [...view.rule(), ...(view.picks.has("group") ? joining : [])];
    byId("command").textContent = [filter, ...words.map(quoted), into].join(" ");
    const chips = [...view.ranges.keys(), ...view.picks.keys()].map((name) => chip(view, name));
    if (chips.length > 1)
      chips.push(
        make("button", { type: "button", textContent: "Clear all", onclick: () => view.dropAll() }),
      );
    byId("chips").replaceChildren(...chips);
    byId("selection").hidden = !chips.length;
  };
}

function chip(view, name) {
  const axis = view.axes.get(name);
  const label = view.labels.get(name);
  const text = view.ranges.has(name)
    ? `${axis.label}: ${rangeText(axis, ...view.ranges.get(name))}`
    : `${label.label}: ${[...view.picks.get(name)].map((code) => label.names[code]).join(", ")}`;
  return make(
    "button",
    { type: "button", className: "chip", title: "Drop this", onclick: () => view.drop(name) },
    `${text} ✕`,
  );
}
