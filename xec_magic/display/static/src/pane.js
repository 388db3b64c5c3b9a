// The scrolling output. It follows the end, or stands still while somebody reads; a window of rows, loaded as needed.

import { LineReader, RING } from "./log.js";
import { lookOf } from "./look.js";

const CHUNK = 100; // rows an element; whole chunks come and go
const STEP = 500; // lines asked for at a time
const AROUND = 200; // lines shown before a line that was jumped to
const LONG = 400; // characters; longer lines wrap, so that one does not make everything scroll sideways

const counted = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;

const make = (name, className, text = "") => {
  const element = document.createElement(name);
  element.className = className;
  element.textContent = text;
  return element;
};

// Text nodes and classes only: output can never become markup.
function drawRow(row) {
  const element = make("div", "xec-row");
  if (row.err) element.classList.add("xec-err");
  if (row.bad) element.classList.add("xec-bad");
  if (row.length > LONG) element.classList.add("xec-long");
  if (row.cut) element.append(make("span", "xec-note", `… ${counted(row.cut, "byte")} of this line not shown … `));
  for (const { text, style } of row.spans) {
    const { names, css } = lookOf(style);
    if (!names) {
      element.append(text);
      continue;
    }
    const span = make("span", names, text);
    for (const name in css) span.style.setProperty(name, css[name]);
    element.append(span);
  }
  if (!row.length) element.append("\n"); // keeps its height, and its line when copied
  return element;
}

export class Pane {
  constructor(log, questions, say) {
    this.log = log;
    this.questions = questions;
    this.say = say;
    this.hit = -1;
    this.rows = make("div", "xec-rows");
    this.partial = make("div", "xec-partial");
    this.box = make("div", "xec-log");
    this.box.tabIndex = 0;
    this.box.setAttribute("role", "log");
    this.box.setAttribute("aria-live", "off"); // a stream would flood a screen reader
    this.box.setAttribute("aria-label", "Output");
    this.box.append(this.rows, this.partial);
    this.toEnd = make("button", "xec-end", "Jump to the end");
    this.toEnd.type = "button";
    this.toEnd.onclick = () => this.follow();
    this.element = make("div", "xec-pane");
    this.element.append(this.box, this.toEnd);
    this.box.addEventListener("scroll", () => this.scrolled());
    this.box.addEventListener("keydown", (event) => this.key(event));
    this.listener = (added, fresh) => this.grown(added, fresh);
    log.listeners.add(this.listener);
    this.follow();
  }

  dispose() {
    this.log.listeners.delete(this.listener);
  }

  // -- following the end ----------------------------------------------------------------------

  follow() {
    this.following = true;
    this.loading = false;
    this.rows.replaceChildren();
    this.count = 0;
    this.first = this.log.first;
    this.end = this.log.next;
    if (this.first > 0) this.rows.append(this.earlier());
    this.append(this.log.rows);
    this.drawPartial();
    this.bottom();
    this.drawEnd();
  }

  grown(added, fresh) {
    if (fresh) return this.follow();
    this.queue = (this.queue ?? []).concat(added);
    this.frame ??= requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.frame = null;
    const rows = this.queue.slice(-RING);
    this.queue = [];
    if (this.following) {
      this.append(rows.filter((row) => row.n >= this.end));
      this.end = this.log.next;
      this.trimTop();
      this.drawPartial();
      this.bottom();
    }
    this.drawEnd();
  }

  drawPartial() {
    const row = this.following || this.end >= this.log.next ? this.log.partial : null;
    this.partial.replaceChildren(...(row ? [drawRow(row)] : []));
  }

  drawEnd() {
    const more = this.log.next - this.end;
    this.toEnd.hidden = this.following;
    this.toEnd.textContent = more > 0 ? `Jump to the end (${counted(more, "more line")})` : "Jump to the end";
  }

  bottom() {
    this.box.scrollTop = this.box.scrollHeight;
    this.lastTop = this.box.scrollTop;
  }

  // -- rows -----------------------------------------------------------------------------------

  append(rows) {
    for (const row of rows) {
      let chunk = this.rows.lastElementChild;
      if (!chunk?.xecRows || chunk.xecRows >= CHUNK) {
        chunk = make("div", "xec-chunk");
        chunk.xecRows = 0;
        chunk.xecFirst = row.n;
        this.rows.append(chunk);
      }
      chunk.append(this.draw1(row));
      chunk.xecRows++;
      this.count++;
    }
  }

  draw1(row) {
    const element = row.gap ? this.gap(row) : drawRow(row);
    element.dataset.line = row.n;
    if (row.n === this.hit) element.classList.add("xec-hit");
    return element;
  }

  gap(row) {
    const button = make("button", "xec-gap", `${counted(row.gap, "line")} not shown: show them`);
    button.type = "button";
    button.onclick = () => this.goTo(row.n, false);
    return button;
  }

  earlier() {
    const button = make("button", "xec-gap", `${counted(this.first, "earlier line")}: show them`);
    button.type = "button";
    button.onclick = () => this.loadBefore();
    return button;
  }

  trimTop() {
    while (this.count > RING + CHUNK) {
      const chunk = this.rows.firstElementChild;
      if (chunk.xecRows) this.count -= chunk.xecRows;
      chunk.remove();
      this.first = this.rows.firstElementChild.xecFirst;
    }
    if (this.first > 0 && this.rows.firstElementChild?.xecRows) this.rows.prepend(this.earlier());
    else if (this.first > 0 && this.rows.firstElementChild) this.rows.firstElementChild.textContent = `${counted(this.first, "earlier line")}: show them`;
  }

  // -- reading --------------------------------------------------------------------------------

  scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.box;
    const up = scrollTop < (this.lastTop ?? 0) - 1;
    this.lastTop = scrollTop;
    const atEnd = scrollHeight - scrollTop - clientHeight < 4;
    if (this.following && up && !atEnd) {
      this.following = false;
      this.end = this.log.next;
      this.drawEnd();
    } else if (!this.following && atEnd && !up) {
      if (this.end >= this.log.next) this.resume();
      else this.loadAfter();
    }
    if (!this.following && scrollTop < 40 && up) this.loadBefore();
  }

  resume() {
    this.following = true;
    this.drawPartial();
    this.drawEnd();
    this.bottom();
  }

  async page(first, count) {
    this.loading = true;
    const reply = await this.questions.ask("page", { first, count });
    this.loading = false;
    if (reply.problem) {
      this.say(reply.problem);
      return null;
    }
    return { rows: new LineReader().rows(reply.first, reply.data, reply.marks), total: reply.total, cut: reply.cut };
  }

  async loadBefore() {
    if (this.loading || this.first <= 0) return;
    this.following = false;
    const first = Math.max(0, this.first - STEP);
    let rows = [];
    // Long lines come fewer at a time than asked for.
    for (let at = first; at < this.first; ) {
      const page = await this.page(at, this.first - at);
      if (!page || !page.rows.length) break;
      rows = rows.concat(page.rows);
      at += page.rows.length;
    }
    if (!rows.length) return;
    if (!this.rows.firstElementChild?.xecRows) this.rows.firstElementChild?.remove();
    const before = this.box.scrollHeight - this.box.scrollTop;
    const chunk = make("div", "xec-chunk");
    chunk.xecRows = rows.length;
    chunk.xecFirst = first;
    chunk.append(...rows.map((row) => this.draw1(row)));
    this.rows.prepend(chunk);
    this.first = first;
    this.count += rows.length;
    if (first > 0) this.rows.prepend(this.earlier());
    this.box.scrollTop = this.lastTop = this.box.scrollHeight - before;
    this.trimBottom();
    this.drawEnd();
  }

  trimBottom() {
    while (this.count > RING + STEP && this.rows.childElementCount > 2) {
      const chunk = this.rows.lastElementChild;
      this.count -= chunk.xecRows;
      this.end = chunk.xecFirst;
      chunk.remove();
    }
    this.drawPartial();
  }

  async loadAfter() {
    if (this.loading) return;
    const page = await this.page(this.end, STEP);
    if (!page || this.following || !page.rows.length) return;
    this.append(page.rows);
    this.end += page.rows.length;
    this.trimTop();
    this.drawPartial();
    this.drawEnd();
  }

  // Shows line n; `mark` makes it stand out.
  async goTo(n, mark = true) {
    if (mark) this.hit = n;
    this.rows.querySelector(".xec-hit")?.classList.remove("xec-hit");
    this.following = false;
    let row = this.rows.querySelector(`.xec-row[data-line="${n}"]`);
    if (!row) {
      const page = await this.page(Math.max(0, n - AROUND), AROUND + STEP);
      if (!page) return;
      this.rows.replaceChildren();
      this.count = 0;
      this.first = page.rows[0]?.n ?? 0;
      if (this.first > 0) this.rows.append(this.earlier());
      this.append(page.rows);
      this.end = this.first + page.rows.length;
      this.drawPartial();
      row = this.rows.querySelector(`.xec-row[data-line="${n}"]`);
    }
    if (row) {
      if (mark) row.classList.add("xec-hit");
      const offset = row.getBoundingClientRect().top - this.box.getBoundingClientRect().top;
      this.box.scrollTop += offset - this.box.clientHeight / 3;
    }
    this.lastTop = this.box.scrollTop;
    this.drawEnd();
  }

  key(event) {
    if (event.key === "End") this.follow();
    else if (event.key === "Home") this.goTo(0, false);
    else return;
    event.preventDefault();
  }
}
