// Two runs: at each share, what both keep, and the pictures that only one of them does.

const HUNDREDTHS = 100;

// Images with at least these ranks in A and in B: sums over the far corner of the joint counts.
function sumCorners(counts) {
  const sums = new Float64Array((HUNDREDTHS + 1) ** 2);
  const at = (a, b) => a * (HUNDREDTHS + 1) + b;
  for (let a = HUNDREDTHS - 1; a >= 0; a--)
    for (let b = HUNDREDTHS - 1; b >= 0; b--)
      sums[at(a, b)] =
        counts[a * HUNDREDTHS + b] +
        sums[at(a + 1, b)] +
        sums[at(a, b + 1)] -
        sums[at(a + 1, b + 1)];
  return (a, b) => sums[at(a, b)];
}

// Counts are those of A's ranks, and within these of B's.
function drawRanks(counts) {
  const cells = HUNDREDTHS / 2;
  const coarse = new Uint32Array(cells * cells);
  counts.forEach((count, place) => {
    const a = Math.floor(place / HUNDREDTHS / 2);
    const b = Math.floor((place % HUNDREDTHS) / 2);
    coarse[b * cells + a] += count;
  });
  const ticks = [0, 25, 50, 75, 100].map((rank) => [`${rank} %`, rank / 2]);
  const ends = { columns: cells, rows: cells, xTicks: ticks, yTicks: ticks };
  const plane = makePlane({ ...ends, height: 430, label: "worse than this one in A" });
  plane.fill(coarse);
  const lines = [0, 1].map(() => svg("path", { class: "mark" }));
  plane.chart.append(...lines);
  plane.chart.setAttribute("aria-label", "rank in B (vertical) against rank in A");
  byId("ranks").replaceChildren(plane.chart);
  return (cut) => {
    const { x, y } = plane;
    lines[0].setAttribute("d", `M${x(cut / 2)} ${y(0)}V${y(cells)}`);
    lines[1].setAttribute("d", `M${x(0)} ${y(cut / 2)}H${x(cells)}`);
  };
}

function start() {
  const data = JSON.parse(byId("data").textContent);
  const corner = sumCorners(data.counts);
  const whole = corner(0, 0);
  const mark = drawRanks(data.counts);
  const slider = byId("slider");
  let shown = [];
  makeCloser(data.scale);
  const byChange = [...data.pictures].sort((x, y) => y.change - x.change);
  fill(
    byId("rises"),
    byChange.filter(({ change }) => change > 0),
    () => undefined,
  );
  fill(
    byId("falls"),
    byChange.reverse().filter(({ change }) => change < 0),
    () => undefined,
  );
  const draw = () => {
    const share = Number(slider.value);
    const cut = HUNDREDTHS - share;
    const both = corner(cut, cut);
    const a = corner(cut, 0) - both;
    const b = corner(0, cut) - both;
    byId("share").replaceChildren(
      make("b", { textContent: percent(2 * both, 2 * both + a + b) }),
      ` of the best ${share} % of each are kept by both: ${thousands(both)} of ${thousands(whole)} images; ${thousands(a)} only by A, ${thousands(b)} only by B`,
    );
    slider.setAttribute("aria-valuetext", `${share} %`);
    for (const button of byId("presets").children)
      button.setAttribute("aria-pressed", button.value === String(share));
    const gap = ({ ranks }) => Math.abs(ranks[0] - ranks[1]);
    const only = (one, other) =>
      data.pictures
        .filter(({ ranks }) => ranks[one] >= cut && ranks[other] < cut)
        .sort((x, y) => gap(y) - gap(x));
    const sides = [only(0, 1), only(1, 0)];
    fill(byId("only-a"), sides[0], () => undefined);
    fill(byId("only-b"), sides[1], () => undefined);
    shown = sides.flat();
    byId("pictures-count").textContent =
      `${shown.length} of the ${data.pictures.length} pictures of this page, qualities in A → B`;
    mark(cut);
    history.replaceState(null, "", `#share=${share}`);
  };
  for (const share of data.shares)
    byId("presets").append(
      make("button", {
        type: "button",
        value: share,
        textContent: `${share} %`,
        onclick: () => {
          slider.value = share;
          draw();
        },
      }),
    );
  byId("download").onclick = () => download("pictures.csv", asCsv(shown), "text/csv");
  slider.oninput = draw;
  const read = () => {
    const share = Number(new URLSearchParams(location.hash.slice(1)).get("share"));
    slider.value =
      share >= 1 && share <= 99 ? share : data.shares.includes(30) ? 30 : data.shares[0];
    draw();
  };
  addEventListener("hashchange", () => {
    if (location.hash.includes("=")) read();
  });
  read();
  document.documentElement.dataset.ready = "yes";
}

start();
