import * as api from "../api.js";
import { address, button, fill, h, mono, svg, tr, when } from "../dom.js";

const SHOWN_MOST = 200;
const SPANS = [["hour", 3600, 60], ["24 hours", 86400, 96], ["7 days", 604800, 84]]; // name, seconds, bars
const DETAIL = ["principal", "secret_printable", "command", "method", "path", "user_agent", "outcome", "query", "url", "filename"];

export const detail = (row) => DETAIL.filter((k) => row.fields?.[k])
  .map((k) => `${k}=${String(row.fields[k]).slice(0, 300)}`).join("  ") || (row.msg ?? "").slice(0, 300);

export const columns = [
  { label: "Time", cell: (r) => when(r.timestamp) },
  { label: "Address", cell: (r) => address(r.attacker_ip) },
  { label: "Where", cell: (r) => `${r.decky} / ${r.service}` },
  { label: "What", cell: (r) => r.event_type },
  { label: "Detail", cell: (r) => detail(r) && mono(detail(r)) },
];

export async function show(place) {
  const stats = h("div", { class: "stats" }), chart = h("div", { class: "panel" });
  const filter = h("input", { type: "search", placeholder: "Filter: address, service, text …", "aria-label": "Filter", class: "grow", oninput: draw });
  const span = h("select", { "aria-label": "Time shown", onchange: () => count().catch(() => {}) },
    SPANS.map(([name], at) => h("option", { value: at, selected: at === 1 }, `the last ${name}`)));
  const bars = h("div"), sum = h("span", { class: "dim small" });
  fill(chart, h("div", { class: "row small" }, span, sum), bars);
  let paused = false;
  const pause = button("Pause", () => { paused = !paused; pause.textContent = paused ? "Go on" : "Pause"; pause.ariaPressed = paused; draw(); });
  const body = h("tbody"), none = h("p", { class: "empty" }, "No visits yet. Try: ssh -p 2222 root@ this machine.");
  const head = h("tr", {}, columns.map((c) => h("th", { scope: "col" }, c.label)));
  fill(place, h("h1", {}, "Visits"), stats, chart, h("div", { class: "row" }, filter, pause),
    h("div", { class: "scroll" }, h("table", { class: "stack", "aria-label": "Events, newest first" }, h("thead", {}, head), body), none));

  const wanted = (row) => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const text = `${row.attacker_ip} ${row.decky} ${row.service} ${row.event_type} ${detail(row)}`.toLowerCase();
    return words.every((word) => text.includes(word));
  };
  function draw() {
    fill(body, api.recent.filter(wanted).slice(0, SHOWN_MOST).map((row) => tr(columns, row)));
    none.hidden = body.childElementCount > 0;
  }
  function arrived({ detail: row }) {
    if (paused || !wanted(row)) return;
    const line = tr(columns, row);
    line.className = "new";
    body.prepend(line);
    if (body.childElementCount > SHOWN_MOST) body.lastElementChild.remove();
    none.hidden = true;
  }
  function histogram() {
    const [, seconds, buckets] = SPANS[span.value];
    return api.get("/logs/histogram", { buckets, since: new Date(Date.now() - 1000 * seconds).toISOString() });
  }
  async function count() {
    const [s, hist] = await Promise.all([api.get("/stats"), histogram()]);
    const tile = (n, text, href) => h("a", { class: "stat", href }, h("b", {}, n.toLocaleString()), h("span", {}, text));
    fill(stats, tile(s.events, "events", "#/visits"), tile(s.events_24h, "in 24 h", "#/visits"),
      tile(s.attackers, "attackers", "#/attackers"), tile(s.credentials, "credentials", "#/credentials"),
      tile(s.sessions, "sessions", "#/sessions"), tile(s.techniques, "techniques", "#/attack"),
      tile(s.canary_triggers, "canary rings", "#/canaries"));
    sum.textContent = `${hist.total.toLocaleString()} events`;
    fill(bars, drawBars(hist));
  }
  draw();
  api.events.addEventListener("log", arrived);
  await count();
  const timer = setInterval(() => count().catch(() => {}), 15000);
  return () => { clearInterval(timer); api.events.removeEventListener("log", arrived); };
}

function drawBars(hist) {
  const most = Math.max(1, ...hist.data.map((b) => b.count)), n = hist.data.length;
  const drawing = svg("svg", { viewBox: `0 0 ${n * 10} 100`, preserveAspectRatio: "none", class: "histogram", role: "img", "aria-label": `Events over time; at most ${most} in ${Math.round(hist.seconds / 60)} min` });
  hist.data.forEach((bucket, at) => {
    const height = bucket.count ? Math.max(3, 100 * bucket.count / most) : 0.6;
    drawing.append(svg("rect", { x: at * 10 + 1, y: 100 - height, width: 8, height },
      svg("title", {}, `${new Date(bucket.start).toLocaleString()}: ${bucket.count}`)));
  });
  return drawing;
}
