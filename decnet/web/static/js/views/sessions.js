import * as api from "../api.js";
import { address, button, facts, fill, h, link, mono, pages, span, table, when } from "../dom.js";
import { Terminal } from "../terminal.js";

const PARTS_MOST = 40;
const IDLE_MOST = 1; // seconds that a silence lasts in the replay

export const columns = [
  { label: "Ended", cell: (s) => when(s.ended_at) },
  { label: "Address", cell: (s) => address(s.attacker_ip) },
  { label: "Where", cell: (s) => `${s.decky} / ${s.service}` },
  { label: "User", cell: (s) => mono(s.principal) },
  { label: "Lasted", num: true, cell: (s) => span(s.duration_s) },
  { label: "", cell: (s) => link(`#/sessions/${api.segment(s.session_id)}`, "Replay") },
];

export async function show(place, [id]) {
  if (id) return replay(place, id);
  fill(place, h("h1", {}, "Sessions"), h("p", { class: "lead" }, "Recorded shells: what was typed and shown, as it happened."),
    pages((cursor) => api.get("/sessions", { cursor }), columns, "No session has been recorded yet."));
  return null;
}

async function replay(place, id) {
  const session = await api.get(`/sessions/${api.segment(id)}`);
  const screen = h("pre", { class: "terminal", tabIndex: 0, "aria-label": "Terminal" });
  const play = button("Play", toggle, { class: "primary" });
  const seek = h("input", { type: "range", min: 0, max: 0, value: 0, "aria-label": "Position", oninput: () => { stop(); draw(Number(seek.value)); } });
  const speed = h("select", { "aria-label": "Speed" }, [1, 2, 4, 8, 16].map((n) => h("option", { value: n }, `${n}×`)));
  const place2 = h("span", { class: "dim small nowrap" });
  fill(place, h("h1", {}, "Session"),
    h("div", { class: "panel" }, facts([["Address", address(session.attacker_ip)],
      ["Where", `${session.decky} / ${session.service}`], ["User", mono(session.principal)],
      ["When", [when(session.started_at), " to ", when(session.ended_at)]], ["Lasted", span(session.duration_s)],
      ["Note", session.truncated ? "The recording was cut: it grew too long." : ""]])),
    h("div", { class: "row" }, play, seek, place2, speed), screen,
    h("h2", {}, "Typed"), table([{ label: "Time", cell: (c) => when(c.ts) }, { label: "Command", cell: (c) => mono(c.command_text) }],
      session.commands, "No commands."));

  const shown = []; // [seconds, text], silences cut
  let header = {}, timer = null, at = 0, terminal = new Terminal();
  try {
    let offset = 0, clock = 0, before = 0;
    for (let part = 0; part < PARTS_MOST && offset !== null; part += 1) {
      const piece = await api.get(`/sessions/${api.segment(id)}/recording`, { offset });
      if (piece.header.width) header = piece.header;
      for (const [seconds, kind, text] of piece.events) {
        clock += Math.min(Math.max(seconds - before, 0), IDLE_MOST);
        before = seconds;
        if (kind === "o") shown.push([clock, text]);
      }
      offset = piece.next;
    }
  } catch (error) {
    screen.textContent = error.message;
    play.disabled = seek.disabled = true;
    return null;
  }
  terminal = new Terminal(header.width ?? 80);
  seek.max = shown.length;

  function draw(to) {
    if (to < at) { terminal.reset(); at = 0; }
    for (; at < to; at += 1) terminal.write(shown[at][1]);
    screen.textContent = terminal.text;
    screen.scrollTop = screen.scrollHeight;
    seek.value = at;
    place2.textContent = `${at} of ${shown.length}`;
  }
  function step() {
    draw(at + 1);
    if (at >= shown.length) return stop();
    timer = setTimeout(step, 1000 * (shown[at][0] - shown[at - 1][0]) / Number(speed.value));
    return undefined;
  }
  function stop() { clearTimeout(timer); timer = null; play.textContent = "Play"; }
  function toggle() {
    if (timer !== null) { stop(); return; }
    if (at >= shown.length) draw(0);
    play.textContent = "Pause";
    timer = setTimeout(step, 0);
  }
  draw(shown.length);
  if (!shown.length) screen.textContent = "Nothing was shown in this session.";
  return stop;
}
