// The live chart: CPU, memory, I/O over time in one canvas. Point at it to read it, drag over it to look closer.

import { button, make } from "./dom.js";
import { roundStep, sizeText } from "./samples.js";

export const PANEL = 66;
export const HEAD = 15; // above each panel, for its name and peak
export const LEFT = 62;
export const FOOT = 20;
export const rate = (value) => sizeText(value) + "/s";
const PANELS = [
  { name: "CPU", columns: [1], text: (value) => value.toFixed(2) + " cores", least: 1 },
  { name: "memory", columns: [2], text: sizeText, least: 1024, base: 1024 },
  { name: "read", other: "written", columns: [3, 4], text: rate, least: 1024, base: 1024 },
  { name: "received", other: "sent", columns: [5, 6], text: rate, least: 1024, base: 1024 },
];
export const KEYS = "← → read, + - closer and wider, 0 all, space pauses";

export class Chart {
  constructor(samples) {
    this.samples = samples;
    this.range = null; // [from, to] while looking closer
    this.cursor = null; // the moment that is read
    this.held = null; // the last moment shown while paused
    this.element = make("div", "xec-chart");
    this.read = make("span", "xec-read");
    this.pause = button("Pause", () => this.hold());
    this.whole = button("Show all", () => this.zoom(null));
    this.canvas = make("canvas", "xec-curves", "", { role: "img" });
    this.canvas.tabIndex = 0;
    this.canvas.title = KEYS;
    this.canvas.onpointerdown = (event) => this.press(event);
    this.canvas.onpointermove = (event) => this.move(event);
    this.canvas.onpointerup = () => this.release();
    this.canvas.onpointerleave = () => this.point(null);
    this.canvas.ondblclick = () => this.zoom(null);
    this.canvas.onkeydown = (event) => this.key(event);
    const bar = make("div", "xec-chartbar");
    bar.append(this.read, this.pause, this.whole);
    this.element.append(bar, this.canvas);
    this.listener = () => this.later();
    samples.listeners.add(this.listener);
    this.sizes = new ResizeObserver(this.listener);
    this.sizes.observe(this.canvas);
    this.later();
  }

  dispose() {
    this.samples.listeners.delete(this.listener);
    this.sizes.disconnect();
  }

  later() {
    this.wanted ||= requestAnimationFrame(() => {
      this.wanted = 0;
      this.draw();
    });
  }

  // -- what is looked at ------------------------------------------------------------------------

  get span() {
    return this.range ?? [0, Math.max(this.held ?? this.samples.end, 1)];
  }

  timeAt(event) {
    const [from, to] = this.span;
    const part = (event.offsetX - LEFT) / (this.canvas.clientWidth - LEFT - 8);
    return from + (to - from) * Math.min(1, Math.max(0, part));
  }

  point(time) {
    this.cursor = time;
    this.later();
  }

  zoom(range) {
    this.range = range;
    this.later();
  }

  hold() {
    this.held = this.held === null ? this.samples.end : null;
    this.pause.textContent = this.held === null ? "Pause" : "Go on";
    this.later();
  }

  press(event) {
    this.canvas.setPointerCapture(event.pointerId);
    this.from = this.timeAt(event);
  }

  move(event) {
    this.point(this.timeAt(event));
  }

  release() {
    const [from, to] = [this.from, this.cursor].sort((a, b) => a - b);
    const [begin, end] = this.span;
    this.from = undefined;
    if (to - from > (end - begin) / 50) this.zoom([from, to]);
    else this.later();
  }

  key(event) {
    const [from, to] = this.span;
    const at = this.cursor ?? to;
    const closer = (factor) => this.zoom([Math.max(0, at - (at - from) * factor), Math.max(at + (to - at) * factor, from + 0.1)]);
    const does = {
      ArrowLeft: () => this.point(Math.max(0, at - (to - from) / 50)),
      ArrowRight: () => this.point(Math.min(this.samples.end, at + (to - from) / 50)),
      "+": () => closer(0.5),
      "-": () => closer(2),
      0: () => this.zoom(null),
      Escape: () => this.zoom(null),
      " ": () => this.hold(),
    }[event.key];
    if (!does) return;
    event.preventDefault();
    does();
  }

  // -- drawing ------------------------------------------------------------------------------------

  draw() {
    const width = this.canvas.clientWidth;
    if (!width || !this.element.isConnected) return; // hidden: the next change of size draws it
    const scale = devicePixelRatio || 1;
    this.canvas.width = width * scale;
    // A panel of which nothing is known is left out.
    const panels = PANELS.filter((panel) => panel === PANELS[0] || this.samples.rows.some((row) => panel.columns.some((column) => row[column] >= 0)));
    this.bottom = panels.length * (PANEL + HEAD);
    this.canvas.style.height = this.bottom + FOOT + "px";
    this.canvas.height = (this.bottom + FOOT) * scale;
    const pen = this.canvas.getContext("2d");
    pen.scale(scale, scale);
    pen.font = "11px system-ui,sans-serif";
    const style = getComputedStyle(this.element);
    this.colour = (name) => style.getPropertyValue("--xec-" + name);
    const [from, to] = this.span;
    const x = (time) => LEFT + ((time - from) / (to - from)) * (width - LEFT - 8);
    const rows = this.samples.rows.filter((row, at, all) => (all[at + 1] ?? row)[0] >= from && (all[at - 1] ?? row)[0] <= to && !(row[0] > this.held && this.held !== null));
    const near = this.cursor === null ? this.samples.rows.at(-1) : this.samples.near(this.cursor);
    this.times(pen, x, from, to);
    panels.forEach((panel, at) => this.panel(pen, panel, rows, x, at * (PANEL + HEAD) + HEAD, width, near));
    this.samples.marks.forEach(([time, text], at) => this.mark(pen, x(time), time >= from && time <= to ? String(at + 1) : ""));
    if (this.from !== undefined && this.cursor !== null) {
      pen.fillStyle = this.colour("focus");
      pen.globalAlpha = 0.2;
      pen.fillRect(x(this.from), 0, x(this.cursor) - x(this.from), this.bottom);
      pen.globalAlpha = 1;
    }
    this.tell(near);
    this.whole.hidden = !this.range;
  }

  line(pen, x0, y0, x1, y1, colour, dash = []) {
    pen.strokeStyle = colour;
    pen.lineWidth = 1;
    pen.setLineDash(dash);
    pen.beginPath();
    pen.moveTo(x0, y0);
    pen.lineTo(x1, y1);
    pen.stroke();
    pen.setLineDash([]);
  }

  times(pen, x, from, to) {
    const step = roundStep(to - from, 6);
    pen.textAlign = "center";
    for (let time = Math.ceil(from / step) * step; time <= to; time += step) {
      this.line(pen, x(time), 0, x(time), this.bottom, this.colour("line"));
      pen.fillStyle = this.colour("muted");
      pen.fillText(+time.toFixed(3) + " s", x(time), this.bottom + FOOT - 4);
    }
  }

  mark(pen, x, number) {
    if (!number) return;
    this.line(pen, x, HEAD, x, this.bottom, this.colour("text"), [2, 3]);
    pen.fillStyle = this.colour("text");
    pen.textAlign = "left";
    pen.fillText(number, x + 2, HEAD + 10);
  }

  panel(pen, panel, rows, x, top, width, near) {
    const known = panel.columns.flatMap((column) => rows.map((row) => row[column])).filter((value) => value >= 0);
    const peak = Math.max(0, ...known);
    const unit = panel.base ? 1024 ** Math.floor(Math.log(Math.max(peak, 1)) / Math.log(1024)) : 1;
    const step = roundStep(Math.max(peak, panel.least) / unit, 2) * unit;
    const most = Math.ceil(Math.max(peak, panel.least) / step) * step;
    const y = (value) => top + PANEL - (value / most) * (PANEL - 4);
    for (let value = 0; value <= most; value += step) {
      this.line(pen, LEFT, y(value), width - 8, y(value), this.colour(value ? "line" : "muted"));
      pen.fillStyle = this.colour("muted");
      pen.textAlign = "right";
      pen.fillText(panel.text(value).replace(" cores", ""), LEFT - 5, y(value) + 4);
    }
    panel.columns.forEach((column, at) => this.curve(pen, rows, column, x, y, at, near));
    pen.textAlign = "left";
    let left = LEFT;
    [panel.name, panel.other].forEach((word, at) => {
      if (!word) return;
      pen.fillStyle = this.colour("c" + (((panel.columns[at] - 1) % 4) + 1));
      pen.fillText((at ? "╌ " : "━ ") + word, left, top - 4);
      left += pen.measureText("━ " + word).width + 12;
    });
    pen.fillStyle = this.colour("text");
    pen.textAlign = "right";
    if (known.length) pen.fillText("peak " + panel.text(peak), width - 8, top - 4);
  }

  curve(pen, rows, column, x, y, dashed, near) {
    pen.save();
    pen.beginPath();
    pen.rect(LEFT, 0, this.canvas.clientWidth, this.bottom);
    pen.clip();
    pen.strokeStyle = pen.fillStyle = this.colour("c" + (((column - 1) % 4) + 1));
    pen.lineWidth = 1.5;
    pen.setLineDash(dashed ? [5, 3] : []);
    pen.beginPath();
    let on = false;
    for (const row of rows) {
      const known = row[column] >= 0;
      if (known) pen[on ? "lineTo" : "moveTo"](x(row[0]), y(row[column]));
      on = known;
    }
    pen.stroke();
    if (this.cursor !== null && near?.[column] >= 0) {
      pen.beginPath();
      pen.arc(x(near[0]), y(near[column]), 3, 0, 7);
      pen.fill();
    }
    pen.restore();
  }

  // The same in words, for all who read and do not see.
  tell(row) {
    if (!row) {
      this.read.textContent = "no sample yet";
      return;
    }
    const said = PANELS.flatMap((panel) => panel.columns.map((column, at) => [[panel.name, panel.other][at], row[column], panel.text]));
    const mark = this.cursor === null ? null : this.samples.marks.findLast(([time]) => Math.abs(time - row[0]) < (this.span[1] - this.span[0]) / 60);
    const words = said.filter(([, value]) => value >= 0).map(([name, value, text]) => `${name} ${text(value)}`);
    this.read.textContent = [`${row[0].toFixed(1)} s`, ...words, ...(mark ? [mark[1]] : [])].join(" · ");
    this.canvas.setAttribute("aria-label", "Use over time: " + this.read.textContent);
  }
}
