// The REST interface: a token in this tab, JSON both ways, one event stream that resumes.

const BASE = "/api/v1";
const KEY = "decnet-token";
export const events = new EventTarget();
export const me = { username: "", role: "", must_change_password: false };
export const recent = []; // the newest events first
const RECENT_MOST = 500;

export const token = () => sessionStorage.getItem(KEY);
export function keep(value) {
  if (value) sessionStorage.setItem(KEY, value); else sessionStorage.removeItem(KEY);
}

export class Refused extends Error {
  constructor(status, message) { super(message); this.status = status; }
}

export async function call(method, path, body) {
  const headers = { Accept: "application/json" };
  if (token()) headers.Authorization = `Bearer ${token()}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(BASE + path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch {
    throw new Refused(0, "The server does not answer.");
  }
  if (answer.status === 401 && token() && !path.startsWith("/auth/login")) {
    keep(null);
    events.dispatchEvent(new Event("logout"));
  }
  const text = await answer.text();
  let data = null;
  try { data = text ? JSON.parse(text) : null; } catch { data = null; }
  if (!answer.ok) throw new Refused(answer.status, reason(answer.status, data));
  return data;
}

function reason(status, data) {
  const detail = data?.detail;
  if (Array.isArray(detail)) return detail.map((d) => `${(d.loc ?? []).slice(1).join(".")}: ${d.msg}`).join("; ");
  return detail ? String(detail) : `The server answered ${status}.`;
}

export const get = (path, params = {}) => {
  const query = new URLSearchParams(Object.entries(params).filter(([, v]) => v !== null && v !== undefined && v !== ""));
  return call("GET", query.size ? `${path}?${query}` : path);
};
export const post = (path, body = {}) => call("POST", path, body);
export const isAdmin = () => me.role === "admin";
export const segment = encodeURIComponent;

// -- the stream

let control = null, last = null;

export async function start() {
  const page = await get("/logs", { limit: 200 });
  recent.splice(0, recent.length, ...page.data);
  const newest = page.data[0]?.id ?? 0;
  last = `${newest}`;
  control = new AbortController();
  follow(control.signal);
}

export function stop() {
  control?.abort();
  control = null;
}

async function follow(signal) {
  let wait = 1000;
  while (!signal.aborted) {
    try {
      const answer = await fetch(`${BASE}/stream`, {
        signal, cache: "no-store",
        headers: { Authorization: `Bearer ${token()}`, Accept: "text/event-stream", "Last-Event-ID": last },
      });
      if (answer.status === 401) { keep(null); events.dispatchEvent(new Event("logout")); return; }
      if (!answer.ok) throw new Error(String(answer.status));
      wait = 1000;
      tell("live", true);
      await read(answer.body.pipeThrough(new TextDecoderStream()).getReader());
    } catch { /* gone: the same event id resumes */ }
    if (signal.aborted) return;
    tell("live", false);
    await new Promise((done) => setTimeout(done, wait));
    wait = Math.min(wait * 2, 15000);
  }
}

async function read(reader) {
  let buffer = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    buffer += value;
    for (let at; (at = buffer.indexOf("\n\n")) >= 0; buffer = buffer.slice(at + 2)) take(buffer.slice(0, at));
  }
}

function take(block) {
  let kind = "message", id = null, data = "";
  for (const line of block.split("\n")) {
    const at = line.indexOf(":");
    if (at <= 0) continue;
    const value = line.slice(at + 1).replace(/^ /, "");
    if (line.startsWith("event:")) kind = value;
    else if (line.startsWith("id:")) id = value;
    else if (line.startsWith("data:")) data += value;
  }
  if (id) last = id;
  if (!data) return;
  const row = JSON.parse(data);
  if (kind === "log") {
    recent.unshift(row);
    recent.length = Math.min(recent.length, RECENT_MOST);
  }
  tell(kind, row);
}

const tell = (kind, detail) => events.dispatchEvent(new CustomEvent(kind, { detail }));
