// How many selected rows lie at each place of two axes.

const BOX = { width: 460, height: 300, left: 56, right: 12, top: 10, bottom: 40 };
const SHADES = 8;

function makeDensities(axes) {
  const byName = new Map(axes.map((axis) => [axis.name, axis]));
  const pairs = [["q_sim", "q_mag"], ["side", "quality"], ["area", "quality"]];
  const drawn = pairs.filter((pair) => pair.every((name) => byName.has(name))).map((pair) => makeDensity(...pair.map((name) => byName.get(name))));
  byId("densities").replaceChildren(...drawn.map(([figure]) => figure));
  return (seen) => { for (const [, draw] of drawn) draw(seen); };
}

function makeDensity(x, y) {
  const wide = BOX.width - BOX.left - BOX.right, tall = BOX.height - BOX.top - BOX.bottom;
  const columns = x.edges.length + 1, rows = y.edges.length + 1;
  const cells = Array.from({ length: SHADES }, (_, shade) => svg("path", { class: "kept", opacity: 0.12 + (0.88 * (shade + 1)) / SHADES }));
  const chart = svg("svg", { viewBox: `0 0 ${BOX.width} ${BOX.height}`, role: "img" });
  const bottom = BOX.height - BOX.bottom;
  chart.append(svg("path", { class: "axis", d: `M${BOX.left} ${BOX.top}V${bottom}H${BOX.width - BOX.right}` }), ...cells);
  const text = (words, attributes) => { const element = svg("text", attributes); element.textContent = words; return element; };
  for (const [edge, place] of some(x, 5)) chart.append(text(groups(edge / x.unit), { x: BOX.left + (wide * place) / columns, y: bottom + 16, "text-anchor": "middle" }));
  for (const [edge, place] of some(y, 5)) chart.append(text(groups(edge / y.unit), { x: BOX.left - 6, y: bottom - (tall * place) / rows + 4, "text-anchor": "end" }));
  chart.append(text(x.label, { x: BOX.left + wide / 2, y: BOX.height - 6, "text-anchor": "middle" }));
  const caption = make("figcaption", { textContent: `${y.label}, upwards, against ${x.label}` });
  const draw = (seen) => {
    const counts = new Uint32Array(columns * rows), xs = seen.rows.codes.get(x.name), ys = seen.rows.codes.get(y.name);
    let sum = 0;
    for (let row = 0; row < seen.rows.scored; row++)
      if (seen.isSelected(row) && xs[row] < columns && ys[row] < rows) { counts[ys[row] * columns + xs[row]]++; sum++; }
    const peak = Math.max(...counts, 1), paths = cells.map(() => "");
    counts.forEach((count, place) => {
      if (!count) return;
      const shade = Math.ceil(SHADES * Math.sqrt(count / peak)) - 1;
      const left = BOX.left + (wide * (place % columns)) / columns, low = bottom - (tall * Math.floor(place / columns)) / rows;
      paths[shade] += `M${left.toFixed(1)} ${low.toFixed(1)}v${(-tall / rows).toFixed(2)}h${(wide / columns).toFixed(2)}v${(tall / rows).toFixed(2)}z`;
    });
    cells.forEach((cell, shade) => cell.setAttribute("d", paths[shade]));
    chart.setAttribute("aria-label", `${y.label} against ${x.label}, ${groups(sum)} images`);
  };
  return [make("figure", {}, caption, chart), draw];
}

function some({ edges }, count) {
  const every = Math.max(Math.ceil(edges.length / count), 1), first = Math.floor((edges.length % every) / 2);
  return edges.map((edge, place) => [edge, place + 1]).filter((_, place) => place % every === first);
}
