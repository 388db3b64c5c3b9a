// What is known of the targets of a fleet, and their last lines: bounded, whatever they print. No page needed.

export const STATES = ["waiting", "running", "ok", "failed", "not started"];
export const KEPT = 300; // lines of all targets together
const KEPT_EACH = 60; // lines of one, for who looks at it alone

export class Hosts {
  constructor(names) {
    this.names = names;
    this.rows = names.map(() => ({ state: 0, time: null, last: "" }));
    this.counts = [names.length, 0, 0, 0, 0];
    this.lines = [];
    this.each = new Map();
    this.skipped = 0;
    this.total = 0; // lines that have ever come
  }

  // Rows as the kernel sends them: number, state, time, last line.
  update(rows) {
    for (const [number, state, time, last] of rows) {
      const row = this.rows[number];
      if (!row) continue;
      this.counts[row.state]--;
      this.counts[state]++;
      Object.assign(row, { state, time, last });
    }
  }

  // Lines as the kernel sends them: number, text, whether from standard error. A snapshot takes the place of what was there.
  add(lines, skipped, whole = false) {
    if (whole) {
      this.lines = [];
      this.each.clear();
    }
    this.skipped += skipped;
    this.total += lines.length;
    for (const line of lines) {
      let own = this.each.get(line[0]);
      if (!own) this.each.set(line[0], (own = []));
      for (const [list, most] of [[this.lines, KEPT], [own, KEPT_EACH]]) {
        list.push(line);
        if (list.length > most * 1.25) list.splice(0, list.length - most);
      }
    }
  }

  // The numbers of the rows that are to be seen: in one of these states, with this text in their name or last line.
  chosen(states, text) {
    const wanted = text.toLowerCase();
    const found = [];
    this.rows.forEach((row, number) => {
      if (states && !states.includes(row.state)) return;
      if (wanted && !(this.names[number] + " " + row.last).toLowerCase().includes(wanted)) return;
      found.push(number);
    });
    return found;
  }

  shown(number) {
    const list = number === null ? this.lines : this.each.get(number) ?? [];
    return list.slice(-(number === null ? KEPT : KEPT_EACH));
  }

  get summary() {
    const [waiting, running, ok, failed, fresh] = this.counts;
    const words = [[ok, "ok"], [failed, "failed"], [running, "running"], [waiting, "waiting"], [fresh, "not started"]];
    return words.filter(([count]) => count).map(([count, word]) => `${count} ${word}`).join(" · ");
  }

  get ended() {
    return this.counts[2] + this.counts[3] + this.counts[4];
  }
}
