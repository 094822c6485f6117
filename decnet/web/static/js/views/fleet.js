import * as api from "../api.js";
import { badge, button, fill, h, mb, span, table, toast, when } from "../dom.js";

const KIND = { ready: "good", up: "good", running: "good", starting: "warn", stopping: "warn", backoff: "warn", failed: "bad", silent: "bad", degraded: "warn" };
const COLUMNS = ["Worker", "State", "PID", "Private MB", "Shared MB", "Limit MB", "Restarts", "Up for", "Heartbeat", "Says", ""];
const NUMBERS = ["PID", "Private MB", "Shared MB", "Limit MB", "Restarts"];

const many = (n, what) => `${n} ${what}${n === 1 ? "" : "s"}`;

export async function show(place) {
  const total = h("p", { class: "lead" }), trouble = h("p", { class: "error" });
  const body = h("tbody"), zygotes = h("div"), deckies = h("div"), rows = new Map();
  fill(place, h("h1", {}, "Fleet"), total, trouble,
    h("div", { class: "scroll" }, h("table", { class: "stack" },
      h("thead", {}, h("tr", {}, COLUMNS.map((c) => h("th", { scope: "col", class: NUMBERS.includes(c) ? "num" : "" }, c)))), body)),
    h("h2", {}, "Zygotes"), zygotes, h("h2", {}, "Deckies"), deckies);

  let asked = 0, shown = 0;
  async function refresh() {
    const turn = asked += 1;
    const fleet = await api.get("/workers");
    if (turn < shown) return; // an older answer that came late would undo what was just done
    shown = turn;
    const names = new Set(fleet.workers.map((w) => w.name));
    for (const [name, row] of rows) if (!names.has(name)) { row.line.remove(); rows.delete(name); }
    for (const worker of fleet.workers) {
      if (!rows.has(worker.name)) { const row = makeRow(worker.name, refresh); rows.set(worker.name, row); body.append(row.line); }
      rows.get(worker.name).update(worker, fleet.manager === "ok");
    }
    const all = [...fleet.workers, ...fleet.zygotes].map((p) => p.memory?.pss_kib ?? 0).reduce((a, b) => a + b, fleet.manager_memory?.pss_kib ?? 0);
    const about = [...fleet.workers, ...fleet.zygotes].some((p) => p.memory?.estimated) ? "about " : "";
    total.textContent = fleet.manager === "ok"
      ? `${many(fleet.workers.length, "worker")}, ${many(fleet.zygotes.length, "zygote")} and the manager: ${about}${mb(all)} MB of memory in all (PSS).`
      : `${fleet.workers.length} workers beat.`;
    trouble.textContent = fleet.manager === "ok" ? "" : `The manager does not answer: ${fleet.manager}`;
    fill(zygotes, table([
      { label: "Zygote", cell: (z) => z.name }, { label: "State", cell: (z) => badge(z.state, KIND[z.state]) },
      { label: "PSS MB", num: true, cell: (z) => mb(z.memory?.pss_kib) }, { label: "Modules", num: true, cell: (z) => z.modules },
      { label: "Generation", num: true, cell: (z) => z.generation },
      { label: "Baked in", num: true, cell: (z) => z.bake_seconds ? `${z.bake_seconds.toFixed(1)} s` : "–" },
      { label: "Error", cell: (z) => z.error },
    ], fleet.zygotes, "None."));
  }
  async function estate() {
    fill(deckies, table([
      { label: "Decky", cell: (d) => d.name }, { label: "State", cell: (d) => badge(d.state, KIND[d.state]) },
      { label: "Archetype", cell: (d) => d.archetype || "–" }, { label: "Services", cell: (d) => d.services.join(" ") },
      { label: "Mutates", cell: (d) => d.mutate_interval_min ? `every ${d.mutate_interval_min} min` : "never" },
      { label: "Seen", cell: (d) => when(d.last_seen) }, { label: "Error", cell: (d) => d.last_error },
      { label: "", cell: (d) => api.isAdmin() && button("Mutate", async () => {
        try { const made = await api.post(`/deckies/${api.segment(d.name)}/mutate`); toast(made.id ? `Asked for other services on ${d.name}.` : "A request is waiting already."); }
        catch (error) { toast(error.message, true); }
      }, { class: "slim", "aria-label": `Mutate ${d.name}` }) },
    ], await api.get("/deckies"), "No deckies are written down yet; the worker reconciler does that."));
  }
  await Promise.all([refresh(), estate()]);
  const timers = [setInterval(() => refresh().catch((e) => { trouble.textContent = e.message; }), 3000), setInterval(() => estate().catch(() => {}), 15000)];
  return () => timers.forEach(clearInterval);
}

// A row is made once and its texts are renewed, so that the focus stays on a button.
function makeRow(name, refresh) {
  const cells = Object.fromEntries(COLUMNS.map((c) => [c, h("td", { "data-label": c, class: NUMBERS.includes(c) ? "num" : "" })]));
  const line = h("tr", {}, Object.values(cells));
  cells.Worker.append(name);
  const run = (verb) => button(verb[0].toUpperCase() + verb.slice(1), async (event) => {
    if (verb !== "start" && !confirm(`${verb} ${name}?`)) return;
    event.target.disabled = true;
    try { const done = await api.post(`/workers/${api.segment(name)}/${verb}`); toast(`${name}: ${done.state || verb}`); await refresh(); }
    catch (error) { toast(error.message, true); }
    event.target.disabled = false;
  }, { class: "slim", "aria-label": `${verb} ${name}` });
  const buttons = { start: run("start"), stop: run("stop"), restart: run("restart") };
  if (api.isAdmin()) fill(cells[""], h("span", { class: "row" }, Object.values(buttons)));
  function update(w, managed) {
    fill(cells.State, badge(w.state, KIND[w.state]));
    cells["Private MB"].textContent = mb(w.memory?.private_kib);
    cells["Shared MB"].textContent = mb(w.memory?.shared_kib);
    cells.PID.textContent = w.pid ?? "–";
    cells["Limit MB"].textContent = w.memory_max === null ? "–" : (w.memory_max / 1e6).toFixed(0);
    cells.Restarts.textContent = w.restarts;
    cells["Up for"].textContent = w.pid && w.started_at ? span(Date.now() / 1000 - w.started_at) : "–";
    fill(cells.Heartbeat, w.beat_age_s === null ? "–" : `${span(w.beat_age_s)} ago`, w.stale && w.pid ? [" ", badge("stale", "bad")] : null);
    fill(cells.Says, w.error || w.health.waiting || w.status || w.last_end);
    if (w.hint) cells.Says.title = w.hint;
    buttons.start.hidden = !managed || Boolean(w.pid);
    buttons.stop.hidden = !w.pid;
    buttons.restart.hidden = !managed || !w.pid;
  }
  return { line, update };
}
