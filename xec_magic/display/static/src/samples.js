// What a page has of samples: numbered rows of [time, cores, memory, read, written, received, sent], NaN where unknown.

const WIDE = 7; // numbers a row, as in display/gauge.py
const MOST = 1200; // rows kept; of more every second one goes

export class Samples {
  constructor() {
    this.rows = [];
    this.marks = [];
    this.next = 0;
    this.listeners = new Set();
  }

  // Takes rows; false when some before them never came, so that all of them should be asked for.
  take(message, bytes) {
    const values = new Float32Array(bytes.slice().buffer);
    const fits = message.whole || message.first === this.next;
    if (message.whole) this.rows = [];
    for (let at = 0; at < values.length; at += WIDE) this.rows.push(values.subarray(at, at + WIDE));
    while (this.rows.length > MOST) this.rows = this.rows.filter((row, at) => at % 2 || !(row[1] >= 0 || row[2] >= 0));
    this.next = message.next;
    this.marks = message.marks ?? this.marks;
    for (const listener of this.listeners) listener();
    return fits;
  }

  get end() {
    return this.rows.at(-1)?.[0] ?? 0;
  }

  // The row nearest to a moment.
  near(time) {
    return this.rows.reduce((best, row) => (best && Math.abs(best[0] - time) <= Math.abs(row[0] - time) ? best : row), undefined);
  }
}

export function sizeText(bytes) {
  let at = 0;
  for (; bytes >= 1024 && at < 4; at++) bytes /= 1024;
  return `${bytes.toFixed(at && bytes < 100 ? 1 : 0)} ${["B", "KiB", "MiB", "GiB", "TiB"][at]}`;
}

// A round step so that about `count` of them make up `span`.
export function roundStep(span, count) {
  const rough = span / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * [1, 2, 5, 10].find((step) => step * power >= rough * 0.999);
}
