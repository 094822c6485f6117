import * as api from "../api.js";
import { badge, button, fill, h, mono, table, toast, when } from "../dom.js";

export async function show(place) {
  const list = h("div"), log = h("div");
  const state = (w) => !w.enabled ? badge("off") : w.auto_disabled_at ? badge("disabled by failures", "bad") : badge("delivers", "good");
  const act = (text, w, work) => button(text, async (event) => {
    event.target.disabled = true;
    try { await work(); await draw(); } catch (error) { toast(error.message, true); }
    event.target.disabled = false;
  }, { class: "slim", "aria-label": `${text}: ${w.name}` });
  async function draw() {
    const path = (w, tail = "") => `/webhooks/${api.segment(w.uuid)}${tail}`;
    fill(list, table([
      { label: "Name", cell: (w) => w.name }, { label: "State", cell: state }, { label: "To", cell: (w) => mono(w.url) },
      { label: "Topics", cell: (w) => mono(w.topic_patterns.join(" ")) }, { label: "Delivered", num: true, cell: (w) => w.delivered_count },
      { label: "Dropped", num: true, cell: (w) => w.dropped_count }, { label: "Last error", cell: (w) => w.last_error },
      { label: "", cell: (w) => h("span", { class: "row" },
        act("Log", w, async () => {
          const rows = await api.get(path(w, "/deliveries"));
          fill(log, h("h2", {}, `Deliveries to ${w.name}`), table([
            { label: "Time", cell: (d) => when(d.at) }, { label: "Outcome", cell: (d) => badge(d.outcome, d.outcome === "delivered" ? "good" : "bad") },
            { label: "Status", num: true, cell: (d) => d.status_code ?? "–" }, { label: "Tries", num: true, cell: (d) => d.attempts },
            { label: "ms", num: true, cell: (d) => d.duration_ms.toFixed(0) }, { label: "Topic", cell: (d) => mono(d.topic) }, { label: "Error", cell: (d) => d.error }], rows, "None yet."));
        }),
        api.isAdmin() && [
          act("Test", w, async () => { const t = await api.post(path(w, "/test")); toast(t.ok ? `${w.name} answered ${t.status} in ${Math.round(t.seconds * 1000)} ms` : `${w.name}: ${t.error}`, !t.ok); }),
          act(w.enabled && !w.auto_disabled_at ? "Switch off" : "Enable", w, () => api.call("PATCH", path(w), { enabled: !(w.enabled && !w.auto_disabled_at) })),
          act("Replay dead", w, async () => { const r = await api.post(path(w, "/replay")); toast(`${r.count} events wait for delivery.`); }),
          act("Remove", w, async () => { if (confirm(`Remove ${w.name}, with its queue and log?`)) await api.call("DELETE", path(w)); }),
        ]) },
    ], await api.get("/webhooks"), "Nobody is told yet."));
  }
  const name = h("input", { required: true, maxLength: 64 }), url = h("input", { type: "url", required: true, maxLength: 2048, placeholder: "https://" });
  const topics = h("input", { value: "AttackerDetail", title: "Topic patterns, or AttackerDetail, DeckyStatus, SystemStatus" });
  const secret = h("p");
  const form = h("form", { class: "row panel", onsubmit: async (event) => {
    event.preventDefault();
    try {
      const made = await api.post("/webhooks", { name: name.value, url: url.value, topic_patterns: topics.value.split(/[\s,]+/).filter(Boolean) });
      fill(secret, `The secret of ${made.name}, shown only now: `, mono(made.secret));
      name.value = url.value = "";
      await draw();
    } catch (error) { toast(error.message, true); }
  } }, h("label", {}, "Name", name), h("label", {}, "URL", url), h("label", {}, "Topics", topics), h("button", { class: "primary" }, "Subscribe"));
  fill(place, h("h1", {}, "Webhooks"), h("p", { class: "lead" }, "Signed requests that tell other systems what happens."), api.isAdmin() ? [form, secret] : null, list, log);
  await draw();
  return null;
}
