import * as api from "./api.js";
import { button, fill, h, link, toast } from "./dom.js";
import * as attackers from "./views/attackers.js";
import * as attack from "./views/attack.js";
import * as canaries from "./views/canaries.js";
import * as credentials from "./views/credentials.js";
import * as fleet from "./views/fleet.js";
import * as graph from "./views/graph.js";
import * as groups from "./views/groups.js";
import * as sessions from "./views/sessions.js";
import * as users from "./views/users.js";
import * as visits from "./views/visits.js";
import * as webhooks from "./views/webhooks.js";

const VIEWS = { visits, fleet, attackers, sessions, credentials, identities: groups.identities,
  campaigns: groups.campaigns, graph, attack, canaries, webhooks, users, account: users.account };
const NAV = [["visits", "Visits"], ["fleet", "Fleet"], ["attackers", "Attackers"], ["sessions", "Sessions"],
  ["credentials", "Credentials"], ["identities", "Identities"], ["campaigns", "Campaigns"], ["graph", "Graph"], ["attack", "ATT&CK"],
  ["canaries", "Canaries"], ["webhooks", "Webhooks"], ["users", "Users"]];
const main = document.getElementById("main"), bar = document.getElementById("bar");
const live = h("span", { class: "live", role: "status", title: "The event stream" }, "offline");
let leave = null; // ends the view that is shown

function drawBar() {
  const here = location.hash.split("/")[1] || "visits";
  fill(bar,
    h("a", { class: "brand", href: "#/visits" }, h("img", { src: "/favicon.svg", alt: "" }), "DECNET"),
    h("nav", { "aria-label": "Views" }, NAV
      .filter(([name]) => name !== "users" || api.isAdmin())
      .map(([name, text]) => h("a", { href: `#/${name}`, "aria-current": name === here ? "page" : null }, text))),
    live,
    link("#/account", api.me.username),
    button("Log out", logout, { class: "slim" }));
  bar.hidden = false;
  bar.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
}

async function show() {
  leave?.();
  leave = null;
  if (!api.token()) return showLogin();
  if (api.me.must_change_password && location.hash !== "#/account") { location.hash = "#/account"; return; }
  const [, name = "visits", ...rest] = location.hash.split("/");
  const view = VIEWS[name] ?? visits;
  drawBar();
  const place = h("div");
  fill(main, place);
  try {
    leave = (await view.show(place, rest.map(decodeURIComponent))) ?? null;
  } catch (error) {
    if (api.token()) fill(place, h("h1", {}, "That did not work"), h("p", { class: "error" }, error.message));
  }
  document.title = `${place.querySelector("h1")?.textContent ?? "DECNET"} – DECNET`;
}

function showLogin() {
  bar.hidden = true;
  document.title = "Log in – DECNET";
  const error = h("p", { class: "error", role: "alert" });
  const name = h("input", { name: "username", autocomplete: "username", required: true, maxLength: 64, autofocus: true });
  const password = h("input", { name: "password", type: "password", autocomplete: "current-password", required: true, maxLength: 256 });
  const send = h("button", { class: "primary", type: "submit" }, "Log in");
  fill(main, h("form", { class: "panel login", onsubmit: submit },
    h("h1", {}, "DECNET"), h("label", {}, "User", name), h("label", {}, "Password", password), error, send,
    h("p", { class: "dim small" }, "The first password of “admin” is in the server's state folder, in the file admin-password.")));
  name.focus();
  async function submit(event) {
    event.preventDefault();
    send.disabled = true;
    error.textContent = "";
    try {
      const made = await api.post("/auth/login", { username: name.value, password: password.value });
      api.keep(made.access_token);
      await begin();
    } catch (fault) {
      error.textContent = fault.message;
      password.value = "";
      password.focus();
    }
    send.disabled = false;
  }
}

async function begin() {
  Object.assign(api.me, await api.get("/auth/me"));
  if (!api.me.must_change_password) await api.start();
  await show();
}

async function logout() {
  try { await api.post("/auth/logout"); } catch { /* it ends by its own time */ }
  end();
}

function end() {
  api.keep(null);
  api.stop();
  show();
}

api.events.addEventListener("logout", end);
api.events.addEventListener("live", ({ detail }) => {
  live.classList.toggle("on", detail);
  live.textContent = detail ? "live" : "reconnecting";
});
api.events.addEventListener("canary", ({ detail }) => toast(`A canary rang: ${detail.src_ip}`, true));
window.addEventListener("hashchange", () => {
  if (takeToken()) { location.reload(); return; }
  show();
  main.focus({ preventScroll: true });
});

// A link like #token=… logs in without typing; it leaves the address bar at once.
function takeToken() {
  const given = /^#token=([\w.-]+)$/.exec(location.hash);
  if (given) { api.keep(given[1]); history.replaceState(null, "", "#/visits"); }
  return Boolean(given);
}

takeToken();
if (!api.token()) show();
else begin().catch((error) => {
  if (error.status !== 401) fill(main, h("p", { class: "error" }, error.message), button("Try again", () => location.reload()));
});
