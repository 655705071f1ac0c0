// Small things that all parts of the page are drawn with.

const SVG = "http://www.w3.org/2000/svg";
const byId = (id) => document.getElementById(id);
const thousands = (value) =>
  Number(value.toPrecision(12)).toLocaleString("en", { maximumFractionDigits: 6 });
const percent = (part, whole) => `${(whole ? (100 * part) / whole : 0).toFixed(1)} %`;

// Make an element of HTML: its properties, then what is in it. Text stays text.
function make(name, properties = {}, ...content) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...content);
  return element;
}

function svg(name, attributes = {}, ...content) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...content);
  return element;
}

// Bars a unit wide, as far as they lie between two places; `peak` is 100 units high.
function bars(counts, peak, from = 0, to = counts.length) {
  let path = "";
  counts.forEach((count, place) => {
    const left = Math.max(place, from);
    const right = Math.min(place + 0.92, to);
    if (!count || left >= right) return;
    const tall = Math.max((100 * count) / peak, 1); // the rarest still shows
    path += `M${left.toFixed(2)} 100v${(-tall).toFixed(2)}h${(right - left).toFixed(2)}V100z`;
  });
  return path;
}

// Texts of some edges of an axis, and the borders of bins that they stand at.
function tickTexts({ edges, unit }, count) {
  const every = Math.max(Math.ceil(edges.length / count), 1);
  const first = Math.floor((edges.length % every) / 2);
  return edges
    .map((edge, place) => [thousands(edge / unit), place + 1])
    .filter((_, place) => place % every === first);
}

// The same below a chart as wide as its bins; none so near its ends that it would be cut.
function tickLabels(axis, count) {
  const bins = axis.edges.length + 1;
  return tickTexts(axis, count)
    .filter(([, border]) => border > bins / 20 && border < (bins * 19) / 20)
    .map(([words, border]) => {
      const tick = make("span", { textContent: words });
      tick.style.left = `${(100 * border) / bins}%`;
      return tick;
    });
}

function copyText(text, button) {
  const done = () => {
    const before = button.textContent;
    button.textContent = "Copied";
    setTimeout(() => {
      button.textContent = before;
    }, 1200);
  };
  if (navigator.clipboard)
    return navigator.clipboard.writeText(text).then(done, () => copySelected(text, done));
  copySelected(text, done);
}

// Of pages that may not use the clipboard.
function copySelected(text, done) {
  const field = make("textarea", { value: text, className: "aside" });
  (document.querySelector("dialog[open]") ?? document.body).append(field);
  field.select();
  if (document.execCommand("copy")) done();
  field.remove();
}

function download(name, text, kind) {
  const link = make("a", {
    download: name,
    href: URL.createObjectURL(new Blob([text], { type: kind })),
  });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

// Let one element of several be reached by Tab, and the others by arrows.
function rove(container, selector) {
  const all = () => [...container.querySelectorAll(selector)];
  const first = container.querySelector(selector);
  if (first) first.tabIndex = 0;
  container.onkeydown = (event) => {
    const here = all();
    const place = here.indexOf(event.target);
    if (place < 0) return;
    const columns = here.filter((one) => one.offsetTop === here[0].offsetTop).length;
    const steps = {
      ArrowRight: 1,
      ArrowLeft: -1,
      ArrowDown: columns,
      ArrowUp: -columns,
      Home: -place,
      End: here.length - 1 - place,
    };
    const next = here[place + (steps[event.key] ?? NaN)];
    if (!next) return;
    event.preventDefault();
    for (const one of here) one.tabIndex = one === next ? 0 : -1;
    next.focus();
  };
}
