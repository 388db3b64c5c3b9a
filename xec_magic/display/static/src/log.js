// What a page knows of a run's output: the last lines in a ring, each with its number, gaps said.

import { PLAIN, parseLine, styleAfter } from "./sgr.js";

export const RING = 5000;

// The same text stands in xec_magic/display/lines.py; a test compares them.
const BAD_LINE =
  /\b(?:error|fatal|exception|traceback|panic|failed|failure|segmentation fault|permission denied|no such file|command not found)\b/i;
const NOT_BAD_LINE =
  /\b(?:no|0|zero|without|ignoring|any) (?:errors?|failures?|failed)\b|\b(?:errors?|failed|failures?)[:= ]+0\b/i;

export const looksBad = (text) => BAD_LINE.test(text) && !NOT_BAD_LINE.test(text);

// Bytes of two streams in arrival order to lines. Each stream has a decoder: a character may be cut by the other's bytes.
export class LineReader {
  constructor(style = PLAIN) {
    this.style = style;
    this.decoders = [0, 1].map(() => new TextDecoder("utf-8", { ignoreBOM: true }));
  }

  // [{text, err}], the last one without its newline.
  split(bytes, marks) {
    const lines = [{ text: "", err: false }];
    let at = 0;
    marks.forEach((length, turn) => {
      const text = this.decoders[turn % 2].decode(bytes.subarray(at, at + length), { stream: true });
      at += length;
      text.split("\n").forEach((part, index) => {
        if (index) lines.push({ text: "", err: false });
        const line = lines[lines.length - 1];
        line.text += part;
        if (part && turn % 2) line.err = true;
      });
    });
    return lines;
  }

  rows(first, bytes, marks, cut = 0) {
    const lines = this.split(bytes, marks);
    if (!lines[lines.length - 1].text) lines.pop();
    return lines.map(({ text, err }, index) => {
      const { style } = this;
      this.style = styleAfter(text, style);
      return { n: first + index, text, style, err, cut: index ? 0 : cut };
    });
  }
}

// What is drawn of a row. Of a flood most rows are never drawn, so that nothing more is made of them when they come.
export function visible({ text, style }) {
  const { spans } = parseLine(text, style);
  const shown = spans.map((span) => span.text).join("");
  return { spans, length: shown.length, bad: looksBad(shown) };
}

export class Log {
  constructor() {
    this.epoch = 0;
    this.listeners = new Set();
    this.reset(0);
  }

  reset(epoch) {
    this.epoch = epoch;
    this.rows = []; // of lines, and {gap, n} for lines that were not sent
    this.next = 0; // number of the line that comes next
    this.partial = null;
    this.reader = new LineReader();
  }

  // Number of the first line in the ring.
  get first() {
    return this.rows.length ? this.rows[0].n : this.next;
  }

  // Lines [message.first, message.first + message.n) and the unfinished one after them.
  apply(message, data, partial) {
    if (message.epoch < this.epoch) return;
    const fresh = message.epoch > this.epoch;
    if (fresh) this.reset(message.epoch);
    const end = message.first + message.n;
    if (end < this.next) return; // a snapshot that the batches have overtaken
    const added = [];
    if (end > this.next) {
      if (message.first > this.next) {
        added.push({ gap: message.first - this.next, n: this.next });
        this.reader = new LineReader();
      }
      const style = message.first < this.next ? PLAIN : this.reader.style;
      const reader = new LineReader(style);
      const rows = reader.rows(message.first, data, message.marks, message.cut);
      added.push(...rows.filter((row) => row.n >= this.next));
      this.reader = reader;
      this.next = end;
      this.rows.push(...added);
      if (this.rows.length > RING) this.rows.splice(0, this.rows.length - RING);
    }
    this.partial = null;
    if (partial.length) {
      const [row] = new LineReader(this.reader.style).rows(end, partial, message.pmarks);
      this.partial = row ?? null;
    }
    for (const listener of this.listeners) listener(added, fresh);
  }
}
