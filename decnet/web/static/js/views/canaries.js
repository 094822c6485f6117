import * as api from "../api.js";
import { address, badge, button, fill, h, mono, pages, toast, when } from "../dom.js";

export async function show(place) {
  const tokens = pages((cursor) => api.get("/canary/tokens", { cursor }), [
    { label: "Name", cell: (t) => t.name }, { label: "State", cell: (t) => badge(t.state, t.state === "planted" ? "good" : "") },
    { label: "Rang", num: true, cell: (t) => t.trigger_count }, { label: "Last", cell: (t) => when(t.last_triggered_at) },
    { label: "Kind", cell: (t) => [t.kind, t.generator ? ` (${t.generator})` : ""] },
    { label: "Decky", cell: (t) => t.decky_name }, { label: "Rings at", cell: (t) => mono(t.kind === "dns" && t.dns_name ? t.dns_name : t.url) },
    { label: "", cell: (t) => api.isAdmin() && t.state === "planted" && button("Revoke", async () => {
      if (!confirm(`Revoke ${t.name}?`)) return;
      try { await api.post(`/canary/tokens/${api.segment(t.uuid)}/revoke`); await tokens.reload(); } catch (error) { toast(error.message, true); }
    }, { class: "slim", "aria-label": `Revoke ${t.name}` }) },
  ], "No bait yet.");
  const rings = pages((cursor) => api.get("/canary/triggers", { cursor, limit: 25 }), [
    { label: "Time", cell: (r) => when(r.occurred_at) },
    { label: "From", cell: (r) => address(r.src_ip) },
    { label: "By", cell: (r) => mono(r.dns_qname ?? r.request_path ?? "") }, { label: "User agent", cell: (r) => mono(r.user_agent ?? "") },
    { label: "Fingerprint", cell: (r) => r.fingerprint && mono(JSON.stringify(r.fingerprint).slice(0, 300)) },
  ], "None has rung.");
  const name = h("input", { required: true, maxLength: 128 });
  const kind = h("select", {}, h("option", { value: "http" }, "web address"), h("option", { value: "dns" }, "host name"));
  const form = h("form", { class: "row panel", onsubmit: async (event) => {
    event.preventDefault();
    try { await api.post("/canary/tokens", { name: name.value, kind: kind.value }); name.value = ""; await tokens.reload(); }
    catch (error) { toast(error.message, true); }
  } }, h("label", {}, "New token", name), h("label", {}, "Kind", kind), h("button", { class: "primary" }, "Make"));
  fill(place, h("h1", {}, "Canaries"), h("p", { class: "lead" }, "Bait that rings when somebody opens it."),
    api.isAdmin() ? form : null, tokens, h("h2", {}, "Rings"), rings);
  const rang = () => { rings.reload(); tokens.reload(); };
  api.events.addEventListener("canary", rang);
  return () => api.events.removeEventListener("canary", rang);
}
