// A plane of cells, the darker the more lies in them, with ticks at its borders.

const BOX = { width: 460, height: 300, left: 56, right: 26, top: 10, bottom: 40 };
const SHADES = 8;

// Ticks are pairs of a text and the border of cells that it stands at.
function makePlane({ columns, rows, xTicks, yTicks, label, height = BOX.height }) {
  const bottom = height - BOX.bottom;
  const x = (border) => BOX.left + ((BOX.width - BOX.left - BOX.right) * border) / columns;
  const y = (border) => bottom - ((bottom - BOX.top) * border) / rows;
  const cells = Array.from({ length: SHADES }, (_, shade) =>
    svg("path", { class: "kept", opacity: 0.12 + (0.88 * (shade + 1)) / SHADES }),
  );
  const text = (words, attributes) => {
    const element = svg("text", attributes);
    element.textContent = words;
    return element;
  };
  const chart = svg(
    "svg",
    { viewBox: `0 0 ${BOX.width} ${height}`, role: "img" },
    svg("path", { class: "axis", d: `M${x(0)} ${y(rows)}V${y(0)}H${x(columns)}` }),
    ...cells,
    ...xTicks.map(([words, border]) =>
      text(words, { x: x(border), y: bottom + 16, "text-anchor": "middle" }),
    ),
    ...yTicks.map(([words, border]) =>
      text(words, { x: BOX.left - 6, y: y(border) + 4, "text-anchor": "end" }),
    ),
    text(label, { x: (x(0) + x(columns)) / 2, y: height - 6, "text-anchor": "middle" }),
  );
  return { chart, x, y, fill: (counts) => shade(cells, counts, columns, x, y) };
}

// Counts are row by row, the lowest row first.
function shade(cells, counts, columns, x, y) {
  const peak = Math.max(...counts, 1);
  const paths = cells.map(() => "");
  counts.forEach((count, place) => {
    if (!count) return;
    const column = place % columns;
    const row = Math.floor(place / columns);
    const corners = [x(column), y(row), y(row + 1), x(column + 1)];
    const [left, low, high, right] = corners.map((value) => value.toFixed(1));
    const darkness = Math.ceil(SHADES * Math.sqrt(count / peak)) - 1;
    paths[darkness] += `M${left} ${low}V${high}H${right}V${low}z`;
  });
  cells.forEach((cell, darkness) => cell.setAttribute("d", paths[darkness]));
}
