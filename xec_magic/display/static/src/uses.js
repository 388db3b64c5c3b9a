// What a page has of the samples of many targets, each with its own beginning on one axis of time.

import { Samples } from "./samples.js";

export const NAMED = 6; // lines that the eye can tell apart, as in display/hostsview.py
export const QUANTITIES = [(row) => row[1], (row) => row[2], (row) => row[3] + row[4]]; // cores, memory, bytes a second

export class Uses {
  constructor(names) {
    this.names = names;
    this.each = names.map(() => null);
    this.listeners = new Set();
    this.places = []; // numbers of the targets that are named, each in a place of its own
  }

  // Takes rows of several targets; false when some before them never came, so that all of them should be asked for.
  take(message, bytes) {
    let at = 0;
    let fits = true;
    for (const part of message.hosts) {
      const own = (this.each[part.number] ??= new Samples());
      own.later = part.later;
      fits = own.take(part, bytes.subarray(at, at + part.bytes)) && fits;
      at += part.bytes;
    }
    this.rank();
    for (const listener of this.listeners) listener();
    return fits;
  }

  // The six that have used the most processor time are named. Who stays among them keeps its place, and with it its colour.
  rank() {
    const used = (number) => {
      const known = this.each[number].rows.map((row) => row[1]).filter((value) => value >= 0);
      return known.reduce((sum, value) => sum + value, 0) / (known.length || 1);
    };
    const scored = this.numbers.map((number) => [used(number), number]);
    const most = scored.sort((a, b) => b[0] - a[0] || a[1] - b[1]).slice(0, NAMED).map(([, number]) => number);
    this.places = this.places.map((number) => (most.includes(number) ? number : null));
    for (const number of most.sort((a, b) => a - b)) {
      if (this.places.includes(number)) continue;
      const free = this.places.indexOf(null);
      this.places[free < 0 ? this.places.length : free] = number;
    }
  }

  // Those of which something is known.
  get numbers() {
    return this.names.map((_, number) => number).filter((number) => this.each[number]?.rows.length);
  }

  get end() {
    return Math.max(0, ...this.numbers.map((number) => this.each[number].end + this.each[number].later));
  }

  // The row of a target nearest to a moment; none when it had not begun, or had ended, by then.
  near(number, time) {
    const own = this.each[number];
    const row = own?.near(time - own.later);
    return row && Math.abs(row[0] + own.later - time) < Math.max(3, (2 * own.end) / own.rows.length) ? row : undefined;
  }
}
