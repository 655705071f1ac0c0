// One picture in its whole: cues, crops, where it comes from, and the next one by arrows.

let among = [];
let current = null;
let opener = null;

function openCloser(picture, pictures, button) {
  [among, opener] = [pictures, button];
  showCloser(picture);
  if (!byId("closer").open) byId("closer").showModal();
}

function makeCloser(scale) {
  const closer = byId("closer");
  const step = (by) => {
    const next = among[among.indexOf(current) + by];
    if (next) showCloser(next);
  };
  byId("previous").onclick = () => step(-1);
  byId("next").onclick = () => step(1);
  byId("close").onclick = () => closer.close();
  byId("heat").onchange = () => drawHeat(current);
  byId("explain-copy").onclick = () => copyText(byId("explain").textContent, byId("explain-copy"));
  closer.onclose = () => {
    const there = document.querySelector(`.thumb[data-at="${current?.at}"]`);
    (opener?.isConnected ? opener : there)?.focus();
  };
  closer.onkeydown = (event) => {
    if (event.target.matches("input, textarea")) return;
    if (event.key === "ArrowRight") step(1);
    if (event.key === "ArrowLeft") step(-1);
  };
  closer.onclick = (event) => {
    if (event.target === closer) closer.close();
  };
  byId("scale-low").textContent = scale.low.toFixed(2);
  byId("scale-high").textContent = scale.high.toFixed(2);
  showCloser.scale = scale;
}

function showCloser(picture) {
  current = picture;
  const place = among.indexOf(picture);
  byId("closer-title").textContent = picture.key;
  byId("closer-place").textContent = `${place + 1} of ${among.length}`;
  byId("previous").disabled = place <= 0;
  byId("next").disabled = place >= among.length - 1;
  const image = byId("whole");
  image.hidden = !picture.preview;
  if (picture.preview) image.src = picture.preview;
  image.alt = `${picture.key}, all of it`;
  byId("missing").hidden = Boolean(picture.preview);
  byId("cut").hidden = !picture.cut;
  if (picture.cut) byId("cut").src = picture.cut;
  const [left, top] = picture.cutAt;
  const where = picture.heat ? "The worst crop" : "A detail from the middle";
  byId("cut-words").textContent = picture.cut ? `${where} at full size, from ${left}, ${top}` : "";
  byId("explain").textContent = picture.explain;
  byId("facts").replaceChildren(
    ...picture.facts.flatMap(([name, value]) => [
      make("dt", { textContent: name }),
      make("dd", { textContent: value }),
    ]),
  );
  drawHeat(picture);
}

// Each pixel has the mean of the patches over it, so cells between their borders have one colour.
function drawHeat(picture) {
  const { heat, width, height } = picture;
  const layer = byId("heat-layer");
  byId("heat-choice").hidden = !heat;
  byId("heat-none")?.toggleAttribute("hidden", Boolean(heat));
  layer.setAttribute("viewBox", `0 0 ${width} ${height}`);
  layer.replaceChildren();
  if (!heat) return;
  const { tops, lefts, quality, side } = heat;
  const { low, high } = showCloser.scale;
  if (byId("heat").checked) {
    const borders = (begins, end) =>
      [...new Set([0, end, ...begins, ...begins.map((begin) => begin + side)])].sort(
        (a, b) => a - b,
      );
    const xs = borders(lefts, width);
    const ys = borders(tops, height);
    const over = (begins, at) =>
      begins.flatMap((begin, place) => (begin <= at && at < begin + side ? [place] : []));
    const columns = xs.slice(0, -1).map((x) => over(lefts, x));
    for (let y = 0; y + 1 < ys.length; y++) {
      const rows = over(tops, ys[y]);
      for (let x = 0; x + 1 < xs.length; x++) {
        const values = rows.flatMap((row) =>
          columns[x].map((column) => quality[row * lefts.length + column] / 1000),
        );
        const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
        const fill = values.length ? warmth((mean - low) / (high - low)) : "url(#unseen)";
        layer.append(
          svg("rect", {
            x: xs[x],
            y: ys[y],
            width: xs[x + 1] - xs[x],
            height: ys[y + 1] - ys[y],
            fill,
            class: values.length ? "cell" : "unseen",
          }),
        );
      }
    }
  }
  const [left, top] = picture.cutAt;
  layer.append(
    svg("rect", { x: left, y: top, width: side, height: side, class: "worst-under" }),
    svg("rect", { x: left, y: top, width: side, height: side, class: "worst" }),
  );
}

// Red for the low end of the scale, over yellow, to blue.
function warmth(share) {
  const stops = [
    [200, 50, 31],
    [251, 224, 138],
    [43, 108, 176],
  ];
  const place = Math.min(Math.max(share, 0), 1) * 2;
  const from = Math.min(Math.floor(place), 1);
  const mixed = stops[from].map((value, channel) =>
    Math.round(value + (place - from) * (stops[from + 1][channel] - value)),
  );
  return `rgb(${mixed.join(",")})`;
}
