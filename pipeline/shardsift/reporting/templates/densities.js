// How many selected rows lie at each place of two axes.

function makeDensities(axes) {
  const byName = new Map(axes.map((axis) => [axis.name, axis]));
  const pairs = [
    ["q_sim", "q_mag"],
    ["side", "quality"],
    ["area", "quality"],
  ];
  const drawn = pairs
    .filter((pair) => pair.every((name) => byName.has(name)))
    .map((pair) => makeDensity(...pair.map((name) => byName.get(name))));
  byId("densities").replaceChildren(...drawn.map(([figure]) => figure));
  return (seen) => {
    for (const [, draw] of drawn) draw(seen);
  };
}

function makeDensity(x, y) {
  const columns = x.edges.length + 1;
  const rows = y.edges.length + 1;
  const ends = { columns, rows, xTicks: tickTexts(x, 5), yTicks: tickTexts(y, 5) };
  const plane = makePlane({ ...ends, label: x.label });
  const caption = make("figcaption", { textContent: `${y.label} (vertical) against ${x.label}` });
  const draw = (seen) => {
    const counts = new Uint32Array(columns * rows);
    const xs = seen.rows.codes.get(x.name);
    const ys = seen.rows.codes.get(y.name);
    let sum = 0;
    for (let row = 0; row < seen.rows.scored; row++)
      if (seen.isSelected(row) && xs[row] < columns && ys[row] < rows) {
        counts[ys[row] * columns + xs[row]]++;
        sum++;
      }
    plane.fill(counts);
    const label = `${y.label} against ${x.label}, ${thousands(sum)} images`;
    plane.chart.setAttribute("aria-label", label);
  };
  return [make("figure", {}, caption, plane.chart), draw];
}
