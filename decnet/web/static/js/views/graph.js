// Who works with whom: campaigns, their identities, the addresses of these; a tree from left to right.

import * as api from "../api.js";
import { fill, h, link, short, svg } from "../dom.js";

const ROW = 28, GAP = 14, COLUMNS = [16, 320, 660], WIDTH = 900;
const known = (identity) => Object.entries(identity.known_by).map(([kind, n]) => `${n} ${kind}`).join(", ");
const many = (n, one, more) => `${n} ${n === 1 ? one : more}`;

export async function show(place, [campaign]) {
  const drawing = h("div"), lead = h("p", { class: "lead" });
  fill(place, h("h1", {}, "Who works with whom"), lead,
    h("p", { class: "row small" },
      h("span", { class: "key campaign" }, "campaign"), h("span", { class: "key identity" }, "identity: the same hands"),
      h("span", { class: "key address" }, "address"), campaign ? link("#/graph", "Show all") : null), drawing);
  async function refresh() {
    const data = await api.get("/graph", { campaign });
    lead.textContent = `${many(data.campaigns.length, "campaign", "campaigns")}, ${many(data.identities.length, "identity", "identities")}`
      + (data.left_out ? `; ${data.left_out} older ones are not drawn.` : ".");
    fill(drawing, draw(data));
  }
  await refresh();
  const changed = ({ detail }) => { if (detail.includes("identities") || detail.includes("campaigns")) refresh().catch(() => {}); };
  api.events.addEventListener("changed", changed);
  return () => api.events.removeEventListener("changed", changed);
}

export function draw(data) {
  if (!data.identities.length) return h("div", { class: "panel" }, h("p", { class: "empty" }, "Nobody yet. The clusterers write them down when addresses show the same hands."));
  const lines = svg("g", { class: "edges", "aria-hidden": "true" }), nodes = svg("g");
  let y = GAP;
  const roots = [...data.campaigns.map((c) => [c, data.identities.filter((i) => i.campaign_id === c.uuid)]),
    ...data.identities.filter((i) => !data.campaigns.some((c) => c.uuid === i.campaign_id)).map((i) => [null, [i]])];
  for (const [campaign, identities] of roots) {
    const middles = identities.map((identity) => {
      const leaves = data.addresses.filter((a) => a.identity_id === identity.uuid).map((a) => ({ href: `#/attackers/${a.uuid}`,
        text: `${a.ip}${a.country_code ? ` ${a.country_code}` : ""}`, title: `address ${a.ip}, ${many(a.event_count, "event", "events")}` }));
      if (identity.left_out) leaves.push({ href: `#/identities/${identity.uuid}`, text: `and ${identity.left_out} more`, title: `${identity.left_out} more addresses` });
      const top = y + ROW / 2;
      for (const leaf of leaves) {
        leaf.y = y + ROW / 2;
        nodes.append(node("address", COLUMNS[2], leaf.y, leaf.text, leaf.title, leaf.href));
        y += ROW;
      }
      if (!leaves.length) y += ROW;
      const middle = leaves.length ? (top + leaves.at(-1).y) / 2 : top;
      leaves.forEach((leaf) => lines.append(edge(COLUMNS[1], middle, COLUMNS[2], leaf.y)));
      const reasons = known(identity);
      nodes.append(node("identity", COLUMNS[1], middle, `${short(identity.uuid)}${reasons ? ` · ${reasons}` : ""}`,
        `identity ${short(identity.uuid)}, ${many(identity.addresses, "address", "addresses")}, confidence ${identity.confidence.toFixed(2)}${reasons ? `, known by ${reasons}` : ""}`,
        `#/identities/${identity.uuid}`));
      return middle;
    });
    if (campaign) {
      const middle = (middles[0] + middles.at(-1)) / 2;
      middles.forEach((at) => lines.append(edge(COLUMNS[0], middle, COLUMNS[1], at)));
      nodes.append(node("campaign", COLUMNS[0], middle, `Campaign ${short(campaign.uuid)}`,
        `campaign ${short(campaign.uuid)}, ${many(identities.length, "identity", "identities")}, confidence ${campaign.confidence.toFixed(2)}`, `#/campaigns/${campaign.uuid}`));
    }
    y += GAP;
  }
  return h("div", { class: "scroll graph", tabIndex: 0, role: "region", "aria-label": "Campaigns, identities and addresses" },
    svg("svg", { viewBox: `0 0 ${WIDTH} ${y}`, width: WIDTH, height: y, role: "group" }, lines, nodes));
}

function edge(x1, y1, x2, y2) {
  const half = (x1 + x2) / 2;
  return svg("path", { d: `M ${x1} ${y1} C ${half} ${y1}, ${half} ${y2}, ${x2} ${y2}` });
}

// A link that the keyboard reaches; its title is what a screen reader says.
function node(kind, x, y, text, title, href) {
  return svg("a", { href, class: `node ${kind}`, "aria-label": title }, svg("title", {}, title),
    svg("circle", { cx: x, cy: y, r: kind === "address" ? 4 : 7 }), svg("text", { x: x + 13, y: y + 4 }, text));
}
