// Enough of a terminal to replay a shell: text, line control, cursor moves, erasing. No colours.

const ROWS_MOST = 2000;

export class Terminal {
  constructor(width = 80) { this.width = Math.min(Math.max(width, 20), 400); this.reset(); }

  reset() { this.lines = [""]; this.x = 0; this.y = 0; this.state = ""; this.pending = ""; }

  get text() { return this.lines.join("\n"); }

  write(text) {
    for (const c of text) {
      if (this.state) this.escape(c);
      else if (c === "\x1b") this.state = "esc";
      else if (c === "\r") this.x = 0;
      else if (c === "\n") this.down();
      else if (c === "\b" || c === "\x7f") this.x = Math.max(0, this.x - 1);
      else if (c === "\t") this.x = Math.min(this.width - 1, (Math.floor(this.x / 8) + 1) * 8);
      else if (c >= " ") this.put(c);
    }
  }

  put(c) {
    if (this.x >= this.width) { this.x = 0; this.down(); }
    const line = this.lines[this.y].padEnd(this.x);
    this.lines[this.y] = line.slice(0, this.x) + c + line.slice(this.x + 1);
    this.x += 1;
  }

  down() {
    this.y += 1;
    if (this.y >= this.lines.length) this.lines.push("");
    if (this.lines.length > ROWS_MOST) { this.lines.shift(); this.y -= 1; }
  }

  escape(c) {
    if (this.state === "esc") {
      this.pending = "";
      this.state = c === "[" ? "csi" : c === "]" || c === "P" || c === "_" ? "osc" : "()*+#".includes(c) ? "one" : "";
    } else if (this.state === "one") this.state = "";
    else if (this.state === "osc") {
      if (c === "\x07") this.state = "";
      else if (c === "\x1b") this.state = "one";
    } else if (c >= "@" && c <= "~") {
      this.state = "";
      this.control(c, this.pending);
    } else if (this.pending.length < 64) this.pending += c;
  }

  control(c, text) {
    const numbers = text.replace(/[^\d;]/g, "").split(";").map((n) => Math.min(Number(n) || 0, 999));
    const n = Math.max(numbers[0], 1);
    const line = this.lines[this.y];
    const top = Math.max(0, this.lines.length - 24);
    if (c === "A") this.y = Math.max(0, this.y - n);
    else if (c === "B") this.y = Math.min(this.lines.length - 1, this.y + n);
    else if (c === "C") this.x = Math.min(this.width - 1, this.x + n);
    else if (c === "D") this.x = Math.max(0, this.x - n);
    else if (c === "G") this.x = Math.min(this.width, n) - 1;
    else if (c === "H" || c === "f") {
      this.y = Math.min(top + n - 1, top + 23);
      while (this.lines.length <= this.y) this.lines.push("");
      this.x = Math.min(Math.max(numbers[1] ?? 1, 1), this.width) - 1;
    } else if (c === "K") {
      this.lines[this.y] = numbers[0] === 1 ? " ".repeat(this.x) + line.slice(this.x) : numbers[0] === 2 ? "" : line.slice(0, this.x);
    } else if (c === "J") {
      if (numbers[0] >= 2) { this.lines.length = top; this.lines.push(""); this.y = top; this.x = 0; }
      else { this.lines[this.y] = line.slice(0, this.x); this.lines.length = this.y + 1; }
    } else if (c === "P") this.lines[this.y] = line.slice(0, this.x) + line.slice(this.x + n);
    else if (c === "@") this.lines[this.y] = line.slice(0, this.x) + " ".repeat(n) + line.slice(this.x);
  }
}
