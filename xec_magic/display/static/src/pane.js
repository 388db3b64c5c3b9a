// The scrolling output. It follows the end, or stands still while somebody reads; a window of rows, loaded as needed.

import { button, make, whilePressed } from "./dom.js";
import { LineReader, RING, visible } from "./log.js";
import { lookOf } from "./look.js";

const CHUNK = 50; // rows an element; whole chunks come and go
const EAGER = 30; // rows at the end that are drawn at once; more than fit into the box
const IDLE_MS = 300;
const STEP = 500; // lines asked for at a time
const AROUND = 200; // lines shown before a line that was jumped to
const LINE_PX = 17; // as in the style sheet
const LONG = 400; // characters; longer lines wrap, so that one does not make everything scroll sideways

export const counted = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;

// Text nodes, classes and computed colours only: output can never become markup.
function drawRow(row, theme) {
  const { spans, length, bad } = visible(row);
  const element = make("div", "xec-row" + (row.err ? " xec-err" : "") + (bad ? " xec-bad" : "") + (length > LONG ? " xec-long" : ""));
  if (row.cut) element.append(make("span", "xec-note", `… ${counted(row.cut, "byte")} of this line not shown … `));
  for (const { text, style } of spans) {
    const { names, css } = lookOf(style, theme);
    if (names || css) {
      const span = make("span", names, text);
      if (css) span.style.cssText = css;
      element.append(span);
    } else element.append(text);
  }
  if (!length) element.append("\n"); // keeps its height, and its line when copied
  return element;
}

export class Pane {
  constructor(log, questions, say) {
    this.log = log;
    this.questions = questions;
    this.say = say;
    this.hit = -1;
    this.theme = "light";
    this.lastTop = 0;
    this.rows = make("div", "xec-rows");
    this.partial = make("div", "xec-partial");
    // A stream would flood a screen reader.
    this.box = make("div", "xec-log", "", { role: "log", "aria-live": "off", "aria-label": "Output", tabindex: 0 });
    this.box.append(this.rows, this.partial);
    this.toEnd = button("Jump to the end", () => this.follow(), "", "xec-end");
    this.element = make("div", "xec-pane");
    this.element.append(this.box, this.toEnd);
    this.box.addEventListener("scroll", () => this.scrolled());
    this.box.addEventListener("keydown", (event) => this.key(event));
    this.pressed = whilePressed(this.box, () => this.later());
    this.seen = new IntersectionObserver(
      (entries) => entries.forEach((entry) => entry.isIntersecting && this.fillInPlace(entry.target)),
      { root: this.box, rootMargin: "80px 0px" },
    );
    // Shown, shown again elsewhere, wider: it stands where it stood.
    this.sizes = new ResizeObserver(() => {
      if (this.following) this.bottom();
      else this.box.scrollTop = this.lastTop;
    });
    this.sizes.observe(this.box);
    this.listener = (added, fresh) => this.grown(added, fresh);
    log.listeners.add(this.listener);
    this.follow();
  }

  dispose() {
    this.log.listeners.delete(this.listener);
    this.seen.disconnect();
    this.sizes.disconnect();
    clearTimeout(this.idle);
  }

  // -- following the end ----------------------------------------------------------------------

  follow() {
    this.following = true;
    this.loading = false;
    this.clear();
    this.queue = [];
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
    this.queue = this.queue.concat(added).slice(-RING);
    this.later();
  }

  later() {
    this.frame ??= requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.frame = null;
    if (this.pressed()) return;
    const rows = this.queue;
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
    this.partial.replaceChildren(...(row ? [drawRow(row, this.theme)] : []));
  }

  drawEnd() {
    const more = this.log.next - this.end;
    this.toEnd.hidden = this.following;
    this.toEnd.textContent = more > 0 ? `Jump to the end (${counted(more, "more line")})` : "Jump to the end";
  }

  bottom() {
    this.box.scrollTop = this.box.scrollHeight;
    this.touched();
  }

  clear() {
    this.seen.disconnect();
    this.rows.replaceChildren();
    this.count = 0;
  }

  // -- rows -----------------------------------------------------------------------------------

  // Most rows of a flood pass unseen: only those at the end are drawn at once, the others when they come into sight.
  append(rows) {
    if (rows.length > EAGER) {
      if (this.following) this.undrawAll();
      this.fillLater(IDLE_MS); // not before the flood is over
    }
    rows.forEach((row, index) => {
      let chunk = this.rows.lastElementChild;
      const left = rows.length - index; // those drawn at once stand in a chunk of their own
      if (!chunk?.xecRows || chunk.xecRows.length >= CHUNK || (left === EAGER && index)) {
        chunk = this.chunk([]);
        this.rows.append(chunk);
      }
      chunk.xecRows.push(row);
      if (chunk.xecDrawn) chunk.append(this.draw1(row));
      else if (left <= EAGER) this.fill(chunk);
      else this.measure(chunk);
    });
    this.count += rows.length;
  }

  // Rows that come and go together.
  chunk(rows) {
    const chunk = make("div", "xec-chunk");
    chunk.xecRows = rows;
    this.measure(chunk);
    this.seen.observe(chunk);
    return chunk;
  }

  // Its height while nothing is drawn in it.
  measure(chunk) {
    chunk.style.height = `${chunk.xecRows.length * LINE_PX}px`;
  }

  fill(chunk) {
    if (chunk.xecDrawn) return;
    chunk.xecDrawn = true;
    this.seen.unobserve(chunk);
    chunk.style.height = "";
    chunk.append(...chunk.xecRows.map((row) => this.draw1(row)));
  }

  // Everything drawn is about to leave sight: elements that nobody sees still cost at each frame.
  undrawAll() {
    for (const chunk of this.rows.children) {
      if (!chunk.xecDrawn) continue;
      chunk.xecDrawn = false;
      chunk.replaceChildren();
      this.measure(chunk);
      this.seen.observe(chunk);
    }
  }

  // Like `fill`, for chunks that are not at the end; what is in sight stays where it is.
  fillInPlace(chunk) {
    this.scrolled(); // what the reader did since, before it looks like ours
    const before = chunk.offsetHeight;
    this.fill(chunk);
    const grown = chunk.offsetHeight - before;
    if (this.following) this.bottom();
    else {
      if (grown && chunk.offsetTop < this.box.scrollTop) this.box.scrollTop += grown;
      this.touched();
    }
  }

  // When the flood is over everything is drawn, so that the browser's own search and selection find it.
  fillLater(delay) {
    clearTimeout(this.idle);
    this.idle = setTimeout(() => {
      const chunk = [...this.rows.children].findLast((one) => one.xecRows && !one.xecDrawn);
      if (!chunk) return;
      if (!this.pressed()) this.fillInPlace(chunk);
      this.fillLater(30);
    }, delay);
  }

  // The element of line n, drawn; null when it is not in the window.
  rowOf(n) {
    const chunk = [...this.rows.children].find((one) => one.xecRows?.length && one.xecRows[0].n <= n && n <= one.xecRows.at(-1).n);
    if (!chunk) return null;
    this.fillInPlace(chunk);
    return chunk.querySelector(`.xec-row[data-line="${n}"]`);
  }

  setTheme(theme) {
    if (theme === this.theme) return;
    this.theme = theme;
    for (const chunk of this.rows.children) if (chunk.xecDrawn) chunk.replaceChildren(...chunk.xecRows.map((row) => this.draw1(row)));
    this.drawPartial();
  }

  draw1(row) {
    const element = row.gap ? this.gap(row) : drawRow(row, this.theme);
    element.dataset.line = row.n;
    if (row.n === this.hit) element.classList.add("xec-hit");
    return element;
  }

  gap(row) {
    return this.offer(`${counted(row.gap, "line")} not shown: show them`, () => this.goTo(row.n, false));
  }

  earlier() {
    return this.offer(`${counted(this.first, "earlier line")}: show them`, () => this.loadBefore());
  }

  offer(text, does) {
    return button(text, does, "", "xec-gap");
  }

  trimTop() {
    while (this.count > RING + CHUNK) {
      const chunk = this.rows.firstElementChild;
      if (chunk.xecRows) this.count -= chunk.xecRows.length;
      chunk.remove();
      this.first = this.rows.firstElementChild.xecRows[0].n;
    }
    if (this.first > 0 && this.rows.firstElementChild?.xecRows) this.rows.prepend(this.earlier());
    else if (this.first > 0 && this.rows.firstElementChild) this.rows.firstElementChild.textContent = `${counted(this.first, "earlier line")}: show them`;
  }

  // -- reading --------------------------------------------------------------------------------

  scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.box;
    if (!clientHeight) return; // hidden
    // Where we put it ourselves nothing has moved; whatever else moves it is the reader: wheel, key, the browser's search.
    const moved = scrollTop - this.lastTop;
    this.lastTop = scrollTop;
    const atEnd = scrollHeight - scrollTop - clientHeight < 4;
    if (this.following && moved < -1 && !atEnd) {
      this.following = false;
      this.end = this.log.next;
      this.drawEnd();
    } else if (!this.following && atEnd && moved > 1 && !this.loading) {
      if (this.end >= this.log.next) this.resume();
      else this.loadAfter();
    }
    if (!this.following && scrollTop < 40 && moved < -1) this.loadBefore();
  }

  // Every change of our own that can move the rows.
  touched() {
    if (this.box.clientHeight) this.lastTop = this.box.scrollTop;
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
    for (let at = rows.length; at > 0; at -= CHUNK) this.rows.prepend(this.chunk(rows.slice(Math.max(0, at - CHUNK), at)));
    this.first = first;
    this.count += rows.length;
    if (first > 0) this.rows.prepend(this.earlier());
    this.box.scrollTop = this.box.scrollHeight - before;
    this.trimBottom();
    this.touched();
    this.drawEnd();
  }

  trimBottom() {
    while (this.count > RING + STEP && this.rows.childElementCount > 2) {
      const chunk = this.rows.lastElementChild;
      this.count -= chunk.xecRows.length;
      this.end = chunk.xecRows[0].n;
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
    this.touched();
  }

  // Shows line n; `mark` makes it stand out.
  async goTo(n, mark = true) {
    if (mark) this.hit = n;
    this.rows.querySelector(".xec-hit")?.classList.remove("xec-hit");
    this.following = false;
    let row = this.rowOf(n);
    if (!row) {
      const page = await this.page(Math.max(0, n - AROUND), AROUND + STEP);
      if (!page) return;
      this.following = false;
      this.clear();
      this.first = page.rows[0]?.n ?? 0;
      if (this.first > 0) this.rows.append(this.earlier());
      this.append(page.rows);
      this.end = this.first + page.rows.length;
      this.drawPartial();
      this.touched();
      row = this.rowOf(n);
    }
    if (row) {
      if (mark) row.classList.add("xec-hit");
      const offset = row.getBoundingClientRect().top - this.box.getBoundingClientRect().top;
      this.box.scrollTop += offset - this.box.clientHeight / 3;
    }
    this.touched();
    this.drawEnd();
  }

  key(event) {
    if (event.key === "End") this.follow();
    else if (event.key === "Home") this.goTo(0, false);
    else return;
    event.preventDefault();
  }
}
