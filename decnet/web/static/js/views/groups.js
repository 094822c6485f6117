import * as api from "../api.js";
import { badge, facts, fill, h, link, mono, pages, short, table, when } from "../dom.js";
import { attackerColumns, tagColumns } from "./attackers.js";

const identityColumns = [
  { label: "Identity", cell: (i) => link(`#/identities/${i.uuid}`, mono(short(i.uuid))) },
  { label: "Last seen", cell: (i) => when(i.last_seen_at) },
  { label: "Addresses", num: true, cell: (i) => i.observation_count },
  { label: "Confidence", num: true, cell: (i) => i.confidence.toFixed(2) },
  { label: "Campaign", cell: (i) => i.campaign_id && link(`#/campaigns/${i.campaign_id}`, mono(short(i.campaign_id))) },
  { label: "Known by", cell: (i) => [i.ja3_hashes.length && badge(`${i.ja3_hashes.length} JA3`), " ", i.hassh_hashes.length ? badge(`${i.hassh_hashes.length} HASSH`) : null, " ", i.payload_hashes.length ? badge(`${i.payload_hashes.length} payloads`) : null].filter((x) => x !== 0) },
];

export const identities = { async show(place, [uuid]) {
  if (!uuid) {
    fill(place, h("h1", {}, "Identities"), h("p", { class: "lead" }, "Addresses that show the same hands. ", link("#/graph", "As a graph")),
      pages((cursor) => api.get("/identities", { cursor }), identityColumns, "None yet."));
    return null;
  }
  const i = await api.get(`/identities/${api.segment(uuid)}`);
  fill(place, h("h1", {}, "Identity ", mono(short(i.uuid))),
    h("div", { class: "panel" }, facts([["Seen", [when(i.first_seen_at), " to ", when(i.last_seen_at)]], ["Confidence", i.confidence.toFixed(2)],
      ["Campaign", i.campaign_id ? link(`#/campaigns/${i.campaign_id}`, short(i.campaign_id)) : ""],
      ["JA3", mono(i.ja3_hashes.join(" "))], ["HASSH", mono(i.hassh_hashes.join(" "))], ["JA4", mono(i.ja4_hashes.join(" "))],
      ["Payloads", mono(i.payload_hashes.map((p) => p.slice(0, 16)).join(" "))], ["C2", mono(i.c2_endpoints.join(" "))], ["Notes", i.notes]])),
    h("h2", {}, "Addresses"), table(attackerColumns, i.attackers),
    h("h2", {}, "Habits"), table([{ label: "Habit", cell: (x) => x.primitive }, { label: "Value", cell: (x) => mono(JSON.stringify(x.current_value)) },
      { label: "State", cell: (x) => badge(x.state) }, { label: "Confidence", num: true, cell: (x) => x.confidence.toFixed(2) },
      { label: "Sessions", num: true, cell: (x) => x.observation_count }], i.habits, "None known."),
    h("h2", {}, "ATT&CK"), pages((cursor) => api.get(`/ttp/by-identity/${api.segment(i.uuid)}`, { cursor, limit: 25 }), tagColumns, "None."));
  return null;
} };

export const campaigns = { async show(place, [uuid]) {
  if (!uuid) {
    fill(place, h("h1", {}, "Campaigns"), h("p", { class: "lead" }, "Identities that work together. ", link("#/graph", "As a graph")),
      pages((cursor) => api.get("/campaigns", { cursor }), [
        { label: "Campaign", cell: (c) => link(`#/campaigns/${c.uuid}`, mono(short(c.uuid))) },
        { label: "Last seen", cell: (c) => when(c.last_seen_at) }, { label: "First seen", cell: (c) => when(c.first_seen_at) },
        { label: "Identities", num: true, cell: (c) => c.identity_count }, { label: "Confidence", num: true, cell: (c) => c.confidence.toFixed(2) }], "None yet."));
    return null;
  }
  const c = await api.get(`/campaigns/${api.segment(uuid)}`);
  fill(place, h("h1", {}, "Campaign ", mono(short(c.uuid))),
    h("div", { class: "panel" }, facts([["Seen", [when(c.first_seen_at), " to ", when(c.last_seen_at)]], ["Confidence", c.confidence.toFixed(2)],
      ["Payloads", mono(c.payload_hashes.map((p) => p.slice(0, 16)).join(" "))], ["C2", mono(c.c2_endpoints.join(" "))], ["Notes", c.notes]])),
    h("h2", {}, "Identities"), table(identityColumns, c.identities), h("p", {}, link(`#/graph/${c.uuid}`, "As a graph")),
    h("h2", {}, "ATT&CK"), pages((cursor) => api.get(`/ttp/by-campaign/${api.segment(c.uuid)}`, { cursor, limit: 25 }), tagColumns, "None."));
  return null;
} };
