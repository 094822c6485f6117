import * as api from "../api.js";
import { badge, button, facts, fill, h, table, toast } from "../dom.js";

const password = (props) => h("input", { type: "password", minLength: 12, maxLength: 256, required: true, autocomplete: "new-password", ...props });

export async function show(place) {
  const list = h("div");
  const act = (text, whom, work) => button(text, async () => {
    try { await work(); await draw(); } catch (error) { toast(error.message, true); }
  }, { class: "slim", "aria-label": `${text}: ${whom.username}` });
  async function draw() {
    const path = (u) => `/users/${api.segment(u.uuid)}`;
    fill(list, table([
      { label: "User", cell: (u) => u.username }, { label: "Role", cell: (u) => badge(u.role, u.role === "admin" ? "warn" : "") },
      { label: "Password", cell: (u) => u.must_change_password ? "to be changed" : "" },
      { label: "", cell: (u) => h("span", { class: "row" },
        act(u.role === "admin" ? "Make viewer" : "Make admin", u, () => api.call("PATCH", path(u), { role: u.role === "admin" ? "viewer" : "admin" })),
        act("Remove", u, async () => { if (confirm(`Remove ${u.username}?`)) await api.call("DELETE", path(u)); })) },
    ], await api.get("/users")));
  }
  const name = h("input", { required: true, maxLength: 64 }), first = password({}), role = h("select", {}, h("option", {}, "viewer"), h("option", {}, "admin"));
  const form = h("form", { class: "row panel", onsubmit: async (event) => {
    event.preventDefault();
    try { await api.post("/users", { username: name.value, password: first.value, role: role.value }); name.value = first.value = ""; await draw(); }
    catch (error) { toast(error.message, true); }
  } }, h("label", {}, "User", name), h("label", {}, "First password (12 or more)", first), h("label", {}, "Role", role), h("button", { class: "primary" }, "Add"));
  fill(place, h("h1", {}, "Users"), form, list);
  await draw();
  return null;
}

export const account = { async show(place) {
  const old = password({ autocomplete: "current-password", minLength: 1 }), fresh = password({});
  const form = h("form", { class: "row panel", onsubmit: async (event) => {
    event.preventDefault();
    try {
      await api.post("/auth/password", { current_password: old.value, new_password: fresh.value });
      toast("The password is changed: log in with the new one.");
      api.keep(null);
      api.events.dispatchEvent(new Event("logout"));
    } catch (error) { toast(error.message, true); }
  } }, h("label", {}, "Current password", old), h("label", {}, "New password (12 or more)", fresh), h("button", { class: "primary" }, "Change"));
  fill(place, h("h1", {}, "Account"), h("div", { class: "panel" }, facts([["User", api.me.username], ["Role", api.me.role]])),
    api.me.must_change_password ? h("p", { class: "error" }, "This password has to be changed first.") : null, form);
  return null;
} };
