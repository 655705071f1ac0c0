"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const slider = byId("slider");
  const percent = (part, whole) => (whole ? (100 * part / whole).toFixed(1) : "0.0") + " %";
  const thumbs = [...document.querySelectorAll("#deciles .thumb")];
  const SHOWN = 12;

  // The places of all bars are made once; moving the slider only changes widths and words.
  const bars = data.groups.map((group) => {
    const table = document.createElement("table");
    const head = table.createTHead().insertRow();
    for (const [text, kind] of [[group.name, ""], ["images", "n"], ["median", "n"], ["kept", "n"], ["", "bar"]]) {
      const cell = document.createElement("th");
      cell.textContent = text; cell.className = kind; cell.scope = "col"; head.append(cell);
    }
    const body = table.createTBody();
    byId("bias").append(table);
    return group.rows.map((row) => {
      const line = body.insertRow();
      line.insertCell().textContent = row.name;
      const count = line.insertCell(); count.className = "n"; count.textContent = row.atLeast[0].toLocaleString("en");
      const median = line.insertCell(); median.className = "n"; median.textContent = row.median.toFixed(3);
      const kept = line.insertCell(); kept.className = "n";
      const bar = document.createElement("i");
      const cell = line.insertCell(); cell.className = "bar"; cell.append(bar);
      return { row, kept, bar };
    });
  });

  function fill(sheet, chosen) {
    sheet.replaceChildren(...chosen.map((thumb) => {
      const copy = thumb.cloneNode(true);
      copy.hidden = false;
      return copy;
    }));
    if (!chosen.length) sheet.textContent = "none";
  }

  function show(preset) {
    const place = Number(slider.value);
    const threshold = data.edges[place];
    const total = data.atLeast[0], kept = preset ? preset.kept : data.atLeast[place];
    byId("value").textContent = threshold.toFixed(4);
    const about = data.sampled ? " of the sample" : "";
    byId("share").textContent = `keeps ${percent(kept, total)}: ${kept.toLocaleString("en")} of ${total.toLocaleString("en")} scored images${about}`;
    slider.setAttribute("aria-valuetext", `${threshold.toFixed(4)}, keeps ${percent(kept, total)}`);
    const rule = preset ? `--keep-top ${preset.share}` : `--min-quality ${threshold}`;
    byId("command").textContent = `${data.filter} ${rule} ${data.into}`;
    for (const group of bars) for (const { row, kept, bar } of group) {
      kept.textContent = percent(row.atLeast[place], row.atLeast[0]);
      bar.style.width = (row.atLeast[0] ? 100 * row.atLeast[place] / row.atLeast[0] : 0) + "%";
    }
    const first = thumbs.findIndex((thumb) => Number(thumb.dataset.quality) >= threshold);
    const split = first < 0 ? thumbs.length : first;
    fill(byId("below"), thumbs.slice(Math.max(0, split - SHOWN), split));
    fill(byId("above"), thumbs.slice(split, split + SHOWN));
    const chart = byId("quality-chart");
    if (chart) {
      const { low, high } = chart.dataset, box = chart.viewBox.baseVal;
      const { left, right } = chart.dataset;
      const x = +left + (threshold - low) / (high - low) * (box.width - left - right);
      for (const name of ["x1", "x2"]) chart.querySelector(".mark").setAttribute(name, x);
    }
  }

  function keep(share) {
    const preset = data.presets.find((one) => one.share === share);
    slider.value = preset ? preset.place : data.edges.length - 1;
    show(preset);
  }

  slider.max = data.edges.length - 1;
  slider.value = data.start;
  slider.addEventListener("input", () => show());
  for (const button of document.querySelectorAll("[data-keep]"))
    button.addEventListener("click", () => keep(Number(button.dataset.keep)));
  document.addEventListener("click", (event) => {
    const thumb = event.target.closest(".thumb");
    if (!thumb) return;
    const body = byId("closer-body");
    const picture = thumb.querySelector("img");
    const words = document.createElement("p");
    words.textContent = thumb.title;
    body.replaceChildren(...(picture ? [picture.cloneNode()] : []), words);
    byId("closer").showModal();
  });
  if (data.startShare === null) show(); else keep(data.startShare);
})();
