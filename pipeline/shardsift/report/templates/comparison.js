// Two runs: at each share, what both keep, and the pictures that only one of them does.

const HUNDREDTHS = 100;

// Images with at least these ranks in A and in B: sums over the far corner of the joint counts.
function sumCorners(counts) {
  const sums = new Float64Array((HUNDREDTHS + 1) ** 2), at = (a, b) => a * (HUNDREDTHS + 1) + b;
  for (let a = HUNDREDTHS - 1; a >= 0; a--)
    for (let b = HUNDREDTHS - 1; b >= 0; b--)
      sums[at(a, b)] = counts[a * HUNDREDTHS + b] + sums[at(a + 1, b)] + sums[at(a, b + 1)] - sums[at(a + 1, b + 1)];
  return (a, b) => sums[at(a, b)];
}

function drawRanks(counts) {
  const size = 400, left = 46, top = 8, bottom = top + size, shades = 8, step = size / 50;
  const cells = new Float64Array(50 * 50);
  counts.forEach((count, place) => { cells[Math.floor(Math.floor(place / HUNDREDTHS) / 2) * 50 + Math.floor((place % HUNDREDTHS) / 2)] += count; });
  const peak = Math.max(...cells, 1), paths = Array.from({ length: shades }, () => "");
  cells.forEach((count, place) => {
    if (!count) return;
    const shade = Math.ceil(shades * Math.sqrt(count / peak)) - 1;
    paths[shade] += `M${left + step * Math.floor(place / 50)} ${bottom - step * (place % 50)}v${-step}h${step}v${step}z`;
  });
  const lines = [0, 1].map(() => svg("path", { class: "mark" }));
  const chart = svg("svg", { viewBox: `0 0 ${left + size + 26} ${bottom + 40}`, role: "img", "aria-label": "rank in B, upwards, against rank in A" },
    svg("path", { class: "axis", d: `M${left} ${top}V${bottom}H${left + size}` }),
    ...paths.map((d, shade) => svg("path", { class: "kept", opacity: 0.12 + (0.88 * (shade + 1)) / shades, d })), ...lines);
  const text = (words, attributes) => { const element = svg("text", attributes); element.textContent = words; chart.append(element); };
  for (const hundredth of [0, 25, 50, 75, 100]) {
    const place = (size * hundredth) / 100;
    text(`${hundredth} %`, { x: left + place, y: bottom + 17, "text-anchor": "middle" });
    text(`${hundredth} %`, { x: left - 5, y: bottom - place + 4, "text-anchor": "end" });
  }
  text("worse than this in A, in hundredths", { x: left + size / 2, y: bottom + 36, "text-anchor": "middle" });
  byId("ranks").replaceChildren(chart);
  return (cut) => {
    const place = (size * cut) / 100;
    lines[0].setAttribute("d", `M${left + place} ${top}V${bottom}`);
    lines[1].setAttribute("d", `M${left} ${bottom - place}H${left + size}`);
  };
}

function start() {
  const data = JSON.parse(byId("data").textContent);
  const corner = sumCorners(data.counts), whole = corner(0, 0), mark = drawRanks(data.counts);
  const slider = byId("slider");
  let shown = [];
  makeCloser(data.scale);
  const byChange = [...data.pictures].sort((x, y) => y.change - x.change);
  fill(byId("rises"), byChange.filter(({ change }) => change > 0), () => undefined);
  fill(byId("falls"), byChange.reverse().filter(({ change }) => change < 0), () => undefined);
  const draw = () => {
    const share = Number(slider.value), cut = HUNDREDTHS - share;
    const both = corner(cut, cut), a = corner(cut, 0) - both, b = corner(0, cut) - both;
    byId("share").replaceChildren(make("b", { textContent: percent(2 * both, 2 * both + a + b) }),
      ` of what each keeps of its best ${share} % is kept by both: ${groups(both)} of ${groups(whole)} images; ${groups(a)} by A alone, ${groups(b)} by B alone`);
    slider.setAttribute("aria-valuetext", `${share} %`);
    for (const button of byId("presets").children) button.setAttribute("aria-pressed", button.value === String(share));
    const gap = ({ ranks }) => Math.abs(ranks[0] - ranks[1]);
    const only = (one, other) => data.pictures.filter(({ ranks }) => ranks[one] >= cut && ranks[other] < cut).sort((x, y) => gap(y) - gap(x));
    const sides = [only(0, 1), only(1, 0)];
    fill(byId("only-a"), sides[0], () => undefined);
    fill(byId("only-b"), sides[1], () => undefined);
    shown = sides.flat();
    byId("pictures-count").textContent = `${shown.length} of the ${data.pictures.length} pictures of this page, qualities in A → B`;
    mark(cut);
    history.replaceState(null, "", `#share=${share}`);
  };
  for (const share of data.shares)
    byId("presets").append(make("button", { type: "button", value: share, textContent: `${share} %`, onclick: () => { slider.value = share; draw(); } }));
  byId("download").onclick = () => download("pictures.csv", asCsv(shown), "text/csv");
  slider.oninput = draw;
  const read = () => {
    const share = Number(new URLSearchParams(location.hash.slice(1)).get("share"));
    slider.value = share >= 1 && share <= 99 ? share : data.shares.includes(30) ? 30 : data.shares[0];
    draw();
  };
  addEventListener("hashchange", read);
  read();
  document.documentElement.dataset.ready = "yes";
}

start();
