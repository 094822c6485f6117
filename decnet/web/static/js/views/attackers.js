import * as api from "../api.js";
import { address, badge, facts, fill, h, link, mono, pages, short, span, table, when } from "../dom.js";
import { columns as eventColumns } from "./visits.js";
import { columns as sessionColumns } from "./sessions.js";

export const attackerColumns = [
  { label: "Address", cell: (a) => address(a.ip, `#/attackers/${a.uuid}`) },
  { label: "Last seen", cell: (a) => when(a.last_seen) },
  { label: "First seen", cell: (a) => when(a.first_seen) },
  { label: "Events", num: true, cell: (a) => a.event_count },
  { label: "Credentials", num: true, cell: (a) => a.credential_count },
  { label: "Behaviour", cell: (a) => a.behavior_class && badge(a.behavior_class.replace("_", " ")) },
  { label: "Country", cell: (a) => a.country_code },
  { label: "Network", cell: (a) => a.asn ? `AS${a.asn} ${a.as_name ?? ""}` : "" },
  { label: "Services", cell: (a) => a.services.join(" ") },
  { label: "Deckies", cell: (a) => [a.deckies.slice(0, 4).join(" "), a.deckies.length > 4 ? ` +${a.deckies.length - 4}` : ""] },
];
const KIND = { malicious: "bad", suspicious: "warn", benign: "good" };
export const tagColumns = [
  { label: "Time", cell: (t) => when(t.observed_at) },
  { label: "Technique", cell: (t) => h("a", { href: `https://attack.mitre.org/techniques/${(t.sub_technique_id ?? t.technique_id).replace(/[^T\d.]/g, "").replace(".", "/")}`, rel: "noreferrer", target: "_blank" }, t.sub_technique_id ?? t.technique_id) },
  { label: "Tactic", cell: (t) => t.tactic }, { label: "Confidence", num: true, cell: (t) => t.confidence.toFixed(2) },
  { label: "Rule", cell: (t) => t.rule_id }, { label: "Source", cell: (t) => t.source_kind },
  { label: "Evidence", cell: (t) => mono(JSON.stringify(t.evidence).slice(0, 300)) },
];

export async function show(place, [uuid, ip]) {
  if (uuid === "ip") {
    const page = await api.get("/attackers", { ip, limit: 1 });
    if (!page.data.length) {
      fill(place, h("h1", {}, ip), h("p", { class: "dim" }, "No profile yet; its events:"),
        pages((cursor) => api.get("/logs", { attacker_ip: ip, cursor }), eventColumns));
      return null;
    }
    location.replace(`#/attackers/${page.data[0].uuid}`);
    return null;
  }
  return uuid ? one(place, uuid) : list(place);
}

function list(place) {
  const search = h("input", { type: "search", placeholder: "Address", "aria-label": "Address" });
  const kind = h("select", { "aria-label": "Behaviour" }, ["", "scanning", "slow_scan", "brute_force", "beaconing", "interactive", "mixed", "unknown"]
    .map((k) => h("option", { value: k }, k ? k.replace("_", " ") : "any behaviour")));
  const found = pages((cursor) => api.get("/attackers", { cursor, ip: search.value.trim(), behavior_class: kind.value }), attackerColumns, "Nobody yet.");
  const again = () => found.reload();
  search.addEventListener("change", again);
  kind.addEventListener("change", again);
  fill(place, h("h1", {}, "Attackers"), h("div", { class: "row" }, search, kind), found);
  const changed = ({ detail }) => { if (detail.includes("attackers") && window.scrollY === 0) again(); };
  api.events.addEventListener("changed", changed);
  return () => api.events.removeEventListener("changed", changed);
}

async function one(place, uuid) {
  const a = await api.get(`/attackers/${api.segment(uuid)}`);
  const b = a.behavior, i = a.intel;
  fill(place, h("h1", {}, mono(a.ip)),
    h("div", { class: "panel" }, facts([
      ["Seen", [when(a.first_seen), " to ", when(a.last_seen)]],
      ["Did", `${a.event_count} events, ${a.credential_count} credentials, ${a.bounty_count} finds`],
      ["Services", a.services.join(" ")], ["Deckies", a.deckies.join(" ")],
      ["Path", a.is_traversal ? a.traversal_path.join(" → ") : ""],
      ["Name", a.ptr_record], ["Country", a.country_code],
      ["Network", a.asn ? `AS${a.asn} ${a.as_name ?? ""} ${a.bgp_prefix ?? ""}` : ""],
      ["Identity", a.identity_id ? link(`#/identities/${a.identity_id}`, short(a.identity_id)) : ""],
      ["Behaviour", b?.behavior_class ? badge(b.behavior_class.replace("_", " ")) : ""],
      ["Tools", b?.tool_guesses?.join(" ")], ["System", b?.os_guess],
      ["Beacon", b?.beacon_interval_s ? `every ${span(b.beacon_interval_s)}, jitter ${b.beacon_jitter_pct?.toFixed(0)} %` : ""],
      ["SSH clients", b?.ssh_client_banners?.join(", ")],
      ["Verdict", i ? badge(i.aggregate_verdict, KIND[i.aggregate_verdict]) : ""],
      ["Lists", i ? [i.blocklists.join(" "), i.abuseipdb_score !== null ? ` AbuseIPDB ${i.abuseipdb_score}` : "", i.greynoise_classification ? ` GreyNoise ${i.greynoise_classification}` : "", i.feodo_listed ? ` Feodo ${i.feodo_malware ?? ""}` : "", i.threatfox_listed ? ` ThreatFox ${i.threatfox_malware ?? ""}` : ""] : ""],
      ["Mail to", a.smtp_targets.map((t) => t.domain).join(" ")],
    ])),
    a.fingerprints.length ? [h("h2", {}, "Fingerprints"), table([
      { label: "Fingerprint", cell: (f) => mono(JSON.stringify(f).slice(0, 400)) }], a.fingerprints)] : null,
    h("h2", {}, "Commands"), pages((cursor) => api.get(`/attackers/${api.segment(uuid)}/commands`, { cursor, limit: 25 }), [
      { label: "Time", cell: (r) => when(r.timestamp) }, { label: "Decky", cell: (r) => r.decky },
      { label: "Command", cell: (r) => mono(r.fields.command ?? r.fields.cmd ?? r.msg ?? "") }], "No commands."),
    h("h2", {}, "Recorded sessions"), pages((cursor) => api.get("/sessions", { attacker_ip: a.ip, cursor, limit: 25 }), sessionColumns, "None."),
    h("h2", {}, "ATT&CK"), pages((cursor) => api.get(`/ttp/by-attacker/${api.segment(uuid)}`, { cursor, limit: 25 }), tagColumns, "No technique was recognised."),
    h("h2", {}, "Events"), pages((cursor) => api.get("/logs", { attacker_ip: a.ip, cursor, limit: 25 }), eventColumns));
  return null;
}
