// Sheets of small pictures, each a button that opens it.

const FIRST = 24;

function thumb(picture, among, isKept) {
  const label = picture.label ?? picture.quality.toFixed(3);
  const words = `${picture.key}, quality ${label}`;
  const image = picture.preview
    ? make("img", { src: picture.preview, alt: words, decoding: "async" })
    : make("span", { className: "none", textContent: "not read" });
  const state = isKept === undefined ? "" : isKept ? " kept" : " thrown";
  const button = make(
    "button",
    { type: "button", className: `thumb${state}`, tabIndex: -1, title: picture.key },
    image,
    make("span", { className: "q", textContent: label }),
  );
  if (!picture.preview) button.ariaLabel = words;
  button.dataset.at = picture.at;
  button.onclick = () => openCloser(picture, among, button);
  return button;
}

// Show the first of some pictures, and a button for all of them.
function fill(box, pictures, isKept, { all = false, kind = "" } = {}) {
  const sheet = make(
    "div",
    { className: `sheet ${kind}` },
    ...(all ? pictures : pictures.slice(0, FIRST)).map((one) => thumb(one, pictures, isKept(one))),
  );
  rove(sheet, ".thumb");
  const rest = [];
  if (!pictures.length) rest.push(make("p", { className: "quiet", textContent: "none" }));
  if (!all && pictures.length > FIRST)
    rest.push(
      make("button", {
        type: "button",
        className: "all",
        textContent: `Show all ${pictures.length}`,
        onclick: () => {
          fill(box, pictures, isKept, { all: true, kind });
          box.querySelector(".thumb").focus();
        },
      }),
    );
  box.replaceChildren(sheet, ...rest);
}

function asCsv(pictures) {
  // A spreadsheet computes a text that begins like a formula; an apostrophe keeps it from that.
  const text = (value) => (/^[=+\-@\t\r]/.test(value) ? `'${value}` : value);
  const quoted = (value) => (/[",\n\r]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
  const cell = (value) => (typeof value === "string" ? quoted(text(value)) : value);
  const lines = pictures.map(({ shard, index, key, quality }) =>
    [shard, index, key, quality].map(cell).join(","),
  );
  return ["shard,index,key,quality", ...lines, ""].join("\n");
}
