// Making elements. All text goes in as text nodes: nothing that an attacker wrote is ever parsed.

export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else if (name in element && name !== "list") element[name] = value;
    else element.setAttribute(name, value);
  }
  add(element, children);
  return element;
}

export function add(element, children) {
  for (const child of children.flat(9)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

// What had the keyboard has it again, where the new content has the same thing: lists renew themselves.
export function fill(element, ...children) {
  const held = element.contains(document.activeElement) && named(document.activeElement) ? document.activeElement : null;
  element.replaceChildren();
  add(element, children);
  if (held) [...element.querySelectorAll(held.tagName)].find((e) => named(e) === named(held))?.focus({ preventScroll: true });
  return element;
}

// Only what cannot be taken for its neighbour; numbers in its text may be others by now.
const named = (e) => e.getAttribute("aria-label") ?? (e.getAttribute("href") && `${e.getAttribute("href")} ${e.textContent.replace(/\d/g, "")}`);

const SVG = "http://www.w3.org/2000/svg";
export function svg(tag, props = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(props)) element.setAttribute(name, value);
  add(element, children);
  return element;
}

// columns: [{ label, cell(row) -> node, text or list, num }]
export function table(columns, rows, empty = "Nothing yet.") {
  const body = h("tbody", {}, rows.map((row) => tr(columns, row)));
  const head = h("tr", {}, columns.map((c) => h("th", { scope: "col", class: c.num ? "num" : "" }, c.label)));
  return h("div", { class: "scroll" }, rows.length
    ? h("table", { class: "stack" }, h("thead", {}, head), body)
    : h("p", { class: "empty" }, empty));
}

export function tr(columns, row) {
  return h("tr", {}, columns.map((c) =>
    h("td", { class: [c.num ? "num" : "", c.class ?? ""].join(" ").trim(), "data-label": c.label }, c.cell(row))));
}

export const mono = (text) => h("span", { class: "mono" }, text);
export const badge = (text, kind = "") => h("span", { class: `badge ${kind}` }, text);
export const link = (href, ...text) => h("a", { href }, ...text);
export const address = (ip, href = `#/attackers/ip/${encodeURIComponent(ip)}`) => h("a", { href, class: "mono address" }, ip);
export const button = (text, onclick, props = {}) => h("button", { type: "button", onclick, ...props }, text);

export function facts(pairs) {
  return h("dl", { class: "facts" }, pairs
    .filter(([, value]) => value !== null && value !== undefined && value !== "" && String(value) !== "")
    .map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

export function when(text) {
  if (!text) return "–";
  const date = new Date(text);
  const two = (n) => String(n).padStart(2, "0");
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  const time = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  return h("time", { dateTime: date.toISOString(), title: date.toISOString(), class: "nowrap" },
    day === when.today() ? time : `${day} ${time}`);
}
when.today = () => {
  const now = new Date(), two = (n) => String(n).padStart(2, "0");
  return `${now.getFullYear()}-${two(now.getMonth() + 1)}-${two(now.getDate())}`;
};

export const span = (seconds) => seconds === null || seconds === undefined ? "–"
  : seconds < 60 ? `${Math.round(seconds)} s`
  : seconds < 5400 ? `${Math.round(seconds / 60)} min`
  : seconds < 172800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86400)} d`;
export const mb = (kib) => kib === null || kib === undefined ? "–" : (kib * 1024 / 1e6).toFixed(1);
export const short = (text) => String(text ?? "").slice(0, 8);

export function toast(text, bad = false) {
  const note = h("div", { class: bad ? "toast bad" : "toast" }, text);
  document.getElementById("toasts").append(note);
  setTimeout(() => note.remove(), bad ? 8000 : 4000);
}

// Loads page after page of a list into `place`, with a button while there is more.
export function pages(load, columns, empty) {
  const place = h("div");
  const rows = [];
  let turn = 0;
  async function more(cursor) {
    const mine = turn;
    const page = await load(cursor);
    if (mine !== turn) return; // asked for anew meanwhile: that answer counts
    if (cursor === null) rows.length = 0;
    rows.push(...page.data);
    fill(place, table(columns, rows, empty), page.next
      ? h("p", { class: "row" }, button("Show more", (event) => { event.target.disabled = true; more(page.next); }))
      : null);
  }
  more(null).catch((error) => fill(place, h("p", { class: "error" }, error.message)));
  place.reload = () => { turn += 1; return more(null); };
  return place;
}
