// Sheets of pictures: those of the selection, around the threshold or in another order.

const ORDERS = {
  worst: (a, b) => a.at - b.at,
  best: (a, b) => b.at - a.at,
  "lowest crop": (a, b) => a.lowest - b.lowest,
  "unlike crops": (a, b) => b.spread - a.spread,
  "largest picture": (a, b) => b.width * b.height - a.width * a.height,
};

function makePictures(view, pictures, equal) {
  const choice = byId("order");
  for (const name of Object.keys(ORDERS))
    choice.append(make("option", { value: name, textContent: `${name} first` }));
  choice.onchange = () =>
    view.change(() => {
      view.order = choice.value;
    });
  let shown = [];
  byId("download").onclick = () => download("pictures.csv", asCsv(shown), "text/csv");
  byId("equal-body")?.replaceChildren(
    ...equal.map((group) => {
      const box = make("div", { className: "copies" });
      fill(
        box,
        group.map((place) => pictures[place]),
        () => undefined,
        { all: true },
      );
      return box;
    }),
  );
  return (seen) => {
    shown = pictures.filter(({ at, extra }) => !extra && seen.isSelected(at));
    const isKept = ({ at }) => seen.isKept(at);
    const order = ORDERS[view.order];
    const kept = shown.filter(isKept);
    const thrown = shown.filter((one) => !isKept(one));
    choice.value = order ? view.order : "threshold";
    byId("split").hidden = Boolean(order);
    byId("ordered").hidden = !order;
    if (order) fill(byId("ordered"), [...shown].sort(order), isKept);
    else {
      fill(byId("below"), thrown.sort(ORDERS.best), isKept);
      fill(byId("above"), kept.sort(ORDERS.worst), isKept);
    }
    const of = view.isSelecting
      ? `${shown.length} of the ${pictures.filter(({ extra }) => !extra).length} pictures of this page are in the selection`
      : `${shown.length} pictures of this page`;
    byId("pictures-count").textContent =
      `${of}: ${kept.length} kept, ${shown.length - kept.length} dropped`;
    drawDisagreements(shown, isKept);
  };
}

// High in one cue and low in the other, by ranks among the pictures that are shown.
function drawDisagreements(shown, isKept) {
  const share = (name) => {
    const sorted = [...shown].sort((a, b) => a[name] - b[name]);
    return new Map(sorted.map((one, place) => [one, place / Math.max(sorted.length - 1, 1)]));
  };
  const sim = share("sim");
  const mag = share("mag");
  const gap = (one) => sim.get(one) - mag.get(one);
  const some = (key) =>
    shown
      .map((one) => [one, key(one)])
      .filter(([, value]) => value > 0)
      .sort((a, b) => b[1] - a[1])
      .slice(0, 12)
      .map(([one]) => one);
  fill(byId("sim-not-mag"), some(gap), isKept);
  fill(
    byId("mag-not-sim"),
    some((one) => -gap(one)),
    isKept,
  );
  fill(
    byId("unlike-crops"),
    some((one) => one.spread),
    isKept,
  );
}
