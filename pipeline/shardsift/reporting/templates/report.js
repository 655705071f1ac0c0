// Puts the parts of the page together: whatever is chosen, all of them are drawn anew.

async function start() {
  const data = JSON.parse(byId("data").textContent);
  const rows = await unpackRows(data.rows, data.axes, data.labels);
  const view = new View(data.axes, data.labels, data.start);
  const label = (name) => data.labels.find((one) => one.name === name);
  const quality = data.axes.find(({ name }) => name === "quality");
  makeCloser(data.scale);
  const drawn = [
    makeThreshold(view, quality, data.presets, rows),
    makeShare(view, data.command),
    makeFacets(view, data.axes, data.labels),
    makePictures(view, data.pictures, data.equal),
    makeGroups(view, label("group"), quality),
    makeDensities(data.axes),
  ];
  let waiting = false;
  const draw = () => {
    waiting = false;
    const seen = look(rows, view);
    for (const part of drawn) part(seen);
  };
  view.listen(() => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(draw);
  });
  const read = () => {
    if (!location.hash.includes("=")) return; // a link inside the page
    view.read(location.hash.slice(1));
    view.tell();
  };
  addEventListener("hashchange", read);
  const wide = matchMedia("(min-width: 1100px)");
  const fold = () => {
    byId("facets").open = wide.matches;
  };
  wide.addEventListener("change", fold);
  fold();
  addEventListener("beforeprint", () => {
    byId("facets").open = true;
  });
  for (const button of document.querySelectorAll("[data-error]"))
    button.onclick = () => view.toggle("error", label("error").names.indexOf(button.dataset.error));
  view.read(location.hash.slice(1));
  draw();
  document.documentElement.dataset.ready = "yes";
}

if (byId("slider")) start();
else document.documentElement.dataset.ready = "yes"; // nothing was scored
