import * as api from "../api.js";
import { badge, button, fill, h, pages, table, toast } from "../dom.js";
import { tagColumns } from "./attackers.js";

const level = (count) => count >= 100 ? "l3" : count >= 10 ? "l2" : "l1";

export async function show(place) {
  const [columns, rules] = await Promise.all([api.get("/ttp/matrix"), api.get("/ttp/rules")]);
  const signs = h("div"), ruleTable = h("div"), seen = columns.reduce((n, c) => n + c.techniques.length, 0);
  function open(cell) {
    fill(signs, h("h2", {}, `${cell.technique_id} ${cell.name}`),
      pages((cursor) => api.get("/ttp/tags", { technique: cell.technique_id, cursor }), tagColumns));
    signs.scrollIntoView({ block: "start" });
  }
  function drawRules() {
    fill(ruleTable, table([
      { label: "Rule", cell: (r) => r.rule_id }, { label: "Name", cell: (r) => r.name }, { label: "Techniques", cell: (r) => r.techniques.join(" ") },
      { label: "State", cell: (r) => badge(r.state, r.state === "enabled" ? "good" : "warn") }, { label: "Why", cell: (r) => r.reason },
      { label: "", cell: (r) => api.isAdmin() && button(r.state === "enabled" ? "Disable" : "Enable", async () => {
        const state = r.state === "enabled" ? "disabled" : "enabled";
        try { Object.assign(r, await api.call("PUT", `/ttp/rules/${api.segment(r.rule_id)}/state`, { state })); drawRules(); }
        catch (error) { toast(error.message, true); }
      }, { class: "slim", "aria-label": `${r.state === "enabled" ? "Disable" : "Enable"} rule ${r.rule_id}` }) },
    ], rules, "The worker ttp has not loaded any rule yet."));
  }
  async function download() {
    const layer = await api.get("/ttp/navigator");
    const url = URL.createObjectURL(new Blob([JSON.stringify(layer, null, 2)], { type: "application/json" }));
    h("a", { href: url, download: "decnet-navigator.json" }).click();
    URL.revokeObjectURL(url);
  }
  fill(place, h("h1", {}, "ATT&CK"),
    h("div", { class: "row" }, h("span", { class: "dim grow" }, seen ? "What was seen, by tactic. Colour: how often." : "No technique was recognised yet."), button("Navigator layer", download)),
    h("div", { class: "matrix" }, columns.map((column) => h("section", { class: "tactic" }, h("h2", {}, column.name),
      column.techniques.map((cell) => h("button", { type: "button", class: `cell ${level(cell.count)}`, onclick: () => open(cell) },
        cell.name, h("br"), h("span", { class: "dim" }, `${cell.technique_id} · ${cell.count}× · ${cell.attackers} attacker${cell.attackers === 1 ? "" : "s"}`)))))),
    signs, h("h2", {}, "Rules"), ruleTable);
  drawRules();
  return null;
}
