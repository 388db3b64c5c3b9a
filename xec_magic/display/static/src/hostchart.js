// The live chart of a fleet: a panel a quantity, a line a target. Point at a line to read it, press a name to follow it.

import { Chart, FOOT, HEAD, KEYS, LEFT, PANEL, rate } from "./chart.js";
import { button, make } from "./dom.js";
import { roundStep, sizeText } from "./samples.js";
import { QUANTITIES } from "./uses.js";

const DASHES = [[], [6, 3], [7, 2, 2, 2], [2, 2], [9, 2, 2, 2, 2, 2], [2, 4]];
const KINDS = [
  { name: "CPU", text: (value) => value.toFixed(2) + " cores", least: 0.1 },
  { name: "memory", text: sizeText, least: 1024, base: 1024 },
  { name: "read and written", text: rate, least: 1024, base: 1024 },
];

export class HostChart extends Chart {
  // `choose` is told the number of a target whose name is pressed.
  constructor(uses, choose) {
    super(uses);
    this.choose = choose;
    this.only = null; // the target that is followed
    this.under = null; // the one whose line is under the pointer
    this.canvas.title = KEYS + ", ↑ ↓ another target";
    this.names = make("div", "xec-legend");
    this.element.insertBefore(this.names, this.canvas);
  }

  follow(only) {
    this.only = only;
    this.later();
  }

  move(event) {
    super.move(event);
    this.pointed = [event.offsetX, event.offsetY];
  }

  point(time) {
    if (time === null) this.pointed = null;
    super.point(time);
  }

  key(event) {
    const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (!step) return super.key(event);
    event.preventDefault();
    const all = this.samples.numbers;
    const at = all.indexOf(this.only);
    if (all.length) this.choose(at < 0 ? all[step > 0 ? 0 : all.length - 1] : (all[at + step] ?? null));
  }

  draw() {
    const width = this.canvas.clientWidth;
    if (!width || !this.element.isConnected) return;
    const scale = devicePixelRatio || 1;
    const uses = this.samples;
    const [from, to] = this.span;
    const until = this.held ?? Infinity;
    const lines = uses.numbers.map((number) => ({
      number,
      later: uses.each[number].later,
      rows: uses.each[number].rows.filter((row, at, all) => {
        const later = uses.each[number].later;
        return (all[at + 1] ?? row)[0] + later >= from && (all[at - 1] ?? row)[0] + later <= to && row[0] + later <= until;
      }),
    }));
    const kinds = KINDS.filter((_, at) => !at || lines.some(({ rows }) => rows.some((row) => QUANTITIES[at](row) >= 0)));
    this.bottom = kinds.length * (PANEL + HEAD);
    this.canvas.width = width * scale;
    this.canvas.height = (this.bottom + FOOT) * scale;
    this.canvas.style.height = this.bottom + FOOT + "px";
    const pen = this.canvas.getContext("2d");
    pen.scale(scale, scale);
    pen.font = "11px system-ui,sans-serif";
    const style = getComputedStyle(this.element);
    this.colour = (name) => style.getPropertyValue("--xec-" + name);
    const x = (time) => LEFT + ((time - from) / (to - from)) * (width - LEFT - 8);
    this.times(pen, x, from, to);
    const scales = kinds.map((kind, at) => this.panel(pen, kind, lines, x, at * (PANEL + HEAD) + HEAD, width));
    this.under = this.nearest(scales);
    const told = this.only ?? this.under;
    scales.forEach((each) => this.curves(pen, lines, x, each, told));
    // The marks of all would hide the curves: those of the one that is told of are drawn.
    this.marked(told).forEach(([time], at) => this.mark(pen, x(time), time >= from && time <= to ? String(at + 1) : ""));
    if (this.from !== undefined && this.cursor !== null) {
      pen.fillStyle = this.colour("focus");
      pen.globalAlpha = 0.2;
      pen.fillRect(x(this.from), 0, x(this.cursor) - x(this.from), this.bottom);
      pen.globalAlpha = 1;
    }
    this.legend();
    this.tell(told);
    this.whole.hidden = !this.range;
  }

  // The marks of a target, on the common axis of time.
  marked(number) {
    const own = this.samples.each[number];
    return own ? own.marks.map(([time, text]) => [time + own.later, text]) : [];
  }

  // Axis and head of a panel; how its values become heights.
  panel(pen, kind, lines, x, top, width) {
    const value = QUANTITIES[KINDS.indexOf(kind)];
    let peak = 0;
    let whose = null;
    for (const { number, rows } of lines) for (const row of rows) if (value(row) > peak) [peak, whose] = [value(row), number];
    const unit = kind.base ? 1024 ** Math.floor(Math.log(Math.max(peak, 1)) / Math.log(1024)) : 1;
    const step = roundStep(Math.max(peak, kind.least) / unit, 2) * unit;
    const most = Math.ceil(Math.max(peak, kind.least) / step) * step;
    const y = (amount) => top + PANEL - (amount / most) * (PANEL - 4);
    for (let amount = 0; amount <= most; amount += step) {
      this.line(pen, LEFT, y(amount), width - 8, y(amount), this.colour(amount ? "line" : "muted"));
      pen.fillStyle = this.colour("muted");
      pen.textAlign = "right";
      pen.fillText(kind.text(amount).replace(" cores", ""), LEFT - 5, y(amount) + 4);
    }
    pen.fillStyle = this.colour("text");
    pen.textAlign = "left";
    pen.fillText(kind.name, LEFT, top - 4);
    pen.textAlign = "right";
    if (whose !== null) {
      const words = `peak ${kind.text(peak)}`;
      const more = `${words} · ${this.samples.names[whose].slice(0, 24)}`;
      const fits = pen.measureText(kind.name + more).width + 16 < width - LEFT - 8;
      pen.fillText(fits ? more : words, width - 8, top - 4);
    }
    return { value, y, top };
  }

  // Whose line the pointer is nearest to, within some pixels.
  nearest(scales) {
    const panel = this.pointed && scales.find(({ top }) => this.pointed[1] >= top - 4 && this.pointed[1] <= top + PANEL);
    let best = null;
    let least = 25;
    for (const number of panel ? this.samples.numbers : []) {
      const row = this.samples.near(number, this.cursor);
      const away = row ? Math.abs(panel.y(panel.value(row)) - this.pointed[1]) : Infinity;
      if (away < least) [least, best] = [away, number];
    }
    return best;
  }

  curves(pen, lines, x, { value, y, top }, told) {
    pen.save();
    pen.beginPath();
    pen.rect(LEFT, top - 2, this.canvas.clientWidth - LEFT - 6, PANEL + 4);
    pen.clip();
    const place = (number) => this.samples.places.indexOf(number);
    // Those without a name first, and what is told of above all.
    const depth = ({ number }) => (number === told ? 2 : place(number) < 0 ? 0 : 1);
    for (const { number, later, rows } of [...lines].sort((a, b) => depth(a) - depth(b))) {
      const at = place(number);
      pen.strokeStyle = pen.fillStyle = this.colour(at < 0 ? (number === told ? "text" : "muted") : "h" + (at + 1));
      pen.globalAlpha = told === null || number === told ? (at < 0 && told === null ? 0.5 : 1) : 0.3;
      pen.lineWidth = number === told ? 2.5 : at < 0 ? 1 : 1.5;
      pen.setLineDash(DASHES[at] ?? []);
      pen.beginPath();
      let on = false;
      let last = -1;
      let high = -1;
      for (const row of rows) {
        const known = value(row) >= 0;
        const px = x(row[0] + later);
        // Of many samples within one pixel the highest is enough.
        if (known && on && px - last < 1 && value(row) <= high) continue;
        if (known) pen[on ? "lineTo" : "moveTo"](px, y(value(row)));
        [on, last, high] = [known, px, value(row)];
      }
      pen.stroke();
      pen.setLineDash([]);
      const row = this.cursor === null || number !== told ? undefined : this.samples.near(number, this.cursor);
      if (row && value(row) >= 0) {
        pen.beginPath();
        pen.arc(x(row[0] + later), y(value(row)), 3, 0, 7);
        pen.fill();
      }
    }
    pen.restore();
  }

  // The names beside their lines; those of a page that reads aloud as well.
  legend() {
    const { names, places, numbers } = this.samples;
    const shown = places.filter((number) => number !== null);
    const rest = numbers.length - shown.length;
    const key = JSON.stringify([places, rest, this.only]);
    if (key === this.known) return;
    this.known = key;
    const entries = places.flatMap((number, at) => {
      if (number === null) return [];
      const one = button("", () => this.choose(number), "Show only " + names[number]);
      one.setAttribute("aria-pressed", String(number === this.only));
      const mark = make("span", "xec-mark");
      mark.style.color = `var(--xec-h${at + 1})`;
      mark.textContent = ["━━", "╍╍", "━╍", "┅┅", "━┅", "┄┄"][at];
      one.append(mark, " " + names[number]);
      return [one];
    });
    const other = this.only !== null && !places.includes(this.only) ? [make("b", "", names[this.only])] : [];
    this.names.replaceChildren(...entries, ...other, ...(rest > 0 ? [make("span", "xec-counts", `${rest} more in grey`)] : []));
  }

  // The same in words.
  tell(told) {
    const { names, numbers, end } = this.samples;
    if (!numbers.length) {
      this.read.textContent = "no sample yet";
      return;
    }
    const time = Math.min(this.cursor ?? this.held ?? end, end);
    const found = (told === null ? numbers : [told]).map((number) => this.samples.near(number, time)).filter(Boolean);
    const words = KINDS.flatMap(({ name, text }, at) => {
      const known = found.map(QUANTITIES[at]).filter((value) => value >= 0);
      if (!known.length) return [];
      return [`${name} ${text(known.reduce((sum, value) => sum + value, 0))}`];
    });
    const [from, to] = this.span;
    const mark = this.marked(told).findLast(([at]) => Math.abs(at - time) < (to - from) / 60);
    if (mark) words.push(mark[1]);
    const who = told === null ? `${found.length} ${found.length === 1 ? "target" : "targets"} in all` : names[told];
    this.read.textContent = [`${time.toFixed(1)} s`, who, ...(words.length ? words : ["nothing known"])].join(" · ");
    this.canvas.setAttribute("aria-label", "Use over time: " + this.read.textContent);
  }
}
