import * as api from "../api.js";
import { address, badge, fill, h, mono, pages, when } from "../dom.js";

export async function show(place) {
  const search = h("input", { type: "search", placeholder: "User name tried", "aria-label": "User name" });
  const tried = pages((cursor) => api.get("/credentials", { cursor, principal: search.value.trim() }), [
    { label: "Last tried", cell: (c) => when(c.last_seen) },
    { label: "Address", cell: (c) => address(c.attacker_ip) },
    { label: "Where", cell: (c) => `${c.decky_name} / ${c.service}` },
    { label: "User", cell: (c) => mono(c.principal) },
    { label: "Secret", cell: (c) => [mono(c.secret_printable), c.secret_kind === "plaintext" ? null : [" ", badge(c.secret_kind)]] },
    { label: "Outcome", cell: (c) => c.outcome && badge(c.outcome, c.outcome === "accepted" ? "warn" : "") },
    { label: "Tries", num: true, cell: (c) => c.attempt_count },
  ], "No credential has been tried yet.");
  search.addEventListener("change", () => tried.reload());
  fill(place, h("h1", {}, "Credentials"), h("div", { class: "row" }, search), tried,
    h("h2", {}, "Used at several places"), pages((cursor) => api.get("/credential-reuse", { cursor, limit: 25 }), [
      { label: "Last seen", cell: (r) => when(r.last_seen) }, { label: "User", cell: (r) => mono(r.principal ?? "(several)") },
      { label: "SHA-256", cell: (r) => mono(r.secret_sha256.slice(0, 16)) },
      { label: "Places", num: true, cell: (r) => r.target_count }, { label: "Tries", num: true, cell: (r) => r.attempt_count },
      { label: "Addresses", cell: (r) => mono(r.attacker_ips.slice(0, 6).join(" ")) },
      { label: "Services", cell: (r) => r.services.join(" ") }], "None."),
    h("h2", {}, "Other finds"), pages((cursor) => api.get("/bounty", { cursor, limit: 25 }), [
      { label: "Time", cell: (b) => when(b.timestamp) }, { label: "Kind", cell: (b) => badge(b.bounty_type) },
      { label: "Address", cell: (b) => address(b.attacker_ip) }, { label: "Where", cell: (b) => `${b.decky} / ${b.service}` },
      { label: "What", cell: (b) => mono(JSON.stringify(b.payload).slice(0, 300)) }], "None."));
  return null;
}
