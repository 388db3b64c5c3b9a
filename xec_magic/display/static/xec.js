const AA = 4.5; // WCAG 2.2, 1.4.3
const GROUNDS = [
"#24292f", "#c5221f", "#0b7a2c", "#d4a72c", "#0b57d0", "#8e24aa", "#1b7c83", "#d0d7de",
"#57606a", "#ff8182", "#4ac26b", "#eac54f", "#54aeff", "#c297ff", "#6fd6df", "#ffffff",
];
const THEMES = {
light: {
page: "#ffffff", text: "#24292f", marked: "#ffebe9", grounds: GROUNDS,
letters: [
"#24292f", "#c5221f", "#0b7a2c", "#7d5700", "#0b57d0", "#8e24aa", "#006a75", "#57606a",
"#57606a", "#b3140f", "#116329", "#6b4a00", "#0a4bb3", "#7a1d94", "#00565f", "#1f2328",
],
},
dark: {
page: "#212121", text: "#e6e6e6", marked: "#3d2023", grounds: GROUNDS,
letters: [
"#b0b0b0", "#ff8a80", "#69d58c", "#f7cf5b", "#8ab4f8", "#e29bf0", "#6fd6df", "#d0d0d0",
"#a8a8a8", "#ffaba4", "#93e5ae", "#fbe08d", "#b3cffb", "#edc0f6", "#a0e6ec", "#ffffff",
],
},
};
const CUBE = [0, 95, 135, 175, 215, 255]; // xterm's steps of the 6x6x6 cube
const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
const hex = (colour) => "#" + colour.map((part) => part.toString(16).padStart(2, "0")).join("");
function indexed(number, table) {
if (number < 16) return rgb(table[number]);
if (number > 231) return Array(3).fill(8 + 10 * (number - 232));
number -= 16;
return [CUBE[Math.floor(number / 36)], CUBE[Math.floor(number / 6) % 6], CUBE[number % 6]];
}
function luminance(colour) {
const [r, g, b] = colour.map((part) => part / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
function contrast(one, other) {
const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
return (high + 0.05) / (low + 0.05);
}
const mix = (one, other, share) => one.map((part, at) => Math.round(part + (other[at] - part) * share));
function readable(letters, ground) {
const end = contrast([0, 0, 0], ground) > contrast([255, 255, 255], ground) ? [0, 0, 0] : [255, 255, 255];
for (let tenths = 0; tenths < 10; tenths++) {
const moved = mix(letters, end, tenths / 10);
if (contrast(moved, ground) >= AA) return moved;
}
return end;
}
const PLAIN = Object.freeze({
fg: null, bg: null, bold: false, dim: false, italic: false, underline: false, strike: false, inverse: false,
});
const MAX_PARAMETERS = 64;
const TOKEN =
/\x1b\[([0-?]*)[ -/]*([@-~])|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[ -/]*[0-OQ-WYZ\\`-~]|([\x00-\x08\x0a-\x1f\x7f-\x9f])/g;
const CONTROL = /[\x00-\x08\x0a-\x1f\x7f-\x9f]/;
const OVERWRITES = /[\r\x08]|\x1b\[[0-?]*K/;
function parseLine(line, style = PLAIN) {
if (!CONTROL.test(line)) return { spans: line ? [{ text: line, style }] : [], style };
return OVERWRITES.test(line) ? overwriting(line, style) : flowing(line, style);
}
function flowing(line, style) {
const spans = [];
const add = (text) => {
const last = spans[spans.length - 1];
if (text && last && same(last.style, style)) last.text += text;
else if (text) spans.push({ text, style });
};
let at = 0;
for (const match of line.matchAll(TOKEN)) {
add(line.slice(at, match.index));
at = match.index + match[0].length;
if (match[2] === "m") style = sgr(match[1], style);
else if (match[3]) add(picture(match[3]));
}
add(line.slice(at));
return { spans, style };
}
function overwriting(line, style) {
const cells = [];
let column = 0;
const put = (text) => {
while (cells.length < column) cells.push([" ", PLAIN]);
for (const char of text) cells[column++] = [char, style];
};
let at = 0;
for (const match of line.matchAll(TOKEN)) {
put(line.slice(at, match.index));
at = match.index + match[0].length;
if (match[2] === "m") style = sgr(match[1], style);
else if (match[2] === "K") {
if (match[1] === "" || match[1] === "0") cells.length = Math.min(cells.length, column);
else if (match[1] === "1") cells.fill([" ", PLAIN], 0, column + 1);
else if (match[1] === "2") cells.length = 0;
} else if (match[3] === "\r") column = 0;
else if (match[3] === "\b") column = Math.max(0, column - 1);
else if (match[3]) put(picture(match[3]));
}
put(line.slice(at));
const spans = [];
for (const [char, look] of cells) {
const last = spans[spans.length - 1];
if (last && same(last.style, look)) last.text += char;
else spans.push({ text: char, style: look });
}
return { spans, style };
}
const same = (a, b) => a === b || Object.keys(PLAIN).every((key) => a[key] === b[key]);
function picture(control) {
const code = control.charCodeAt(0);
if (code === 7 || code === 14 || code === 15) return "";
return code < 32 ? String.fromCharCode(0x2400 + code) : code === 127 ? "\u2421" : "\ufffd";
}
const SIMPLE = {
1: { bold: true }, 2: { dim: true }, 3: { italic: true }, 7: { inverse: true }, 9: { strike: true }, 21: { underline: true },
22: { bold: false, dim: false }, 23: { italic: false }, 24: { underline: false }, 27: { inverse: false },
29: { strike: false }, 39: { fg: null }, 49: { bg: null },
};
function sgr(parameters, style) {
if (/[<=>?]/.test(parameters)) return style; // private sequences set no colour
const codes = parameters
.split(";").slice(0, MAX_PARAMETERS)
.map((code) => code.split(":").map((part) => Number(part.slice(0, 6))));
let at = 0;
while (at < codes.length) {
let [code, ...more] = codes[at++];
if (code === 38 || code === 48) {
if (more.length) {
if (more[0] === 2 && more.length > 4) more = [2, ...more.slice(2)]; // 38:2:space:r:g:b
} else {
const length = at < codes.length ? ({ 5: 2, 2: 4 }[codes[at][0]] ?? 1) : 0;
more = codes.slice(at, at + length).map((part) => part[0]);
at += length;
}
const value = colour(more);
if (value !== null) style = { ...style, [code === 38 ? "fg" : "bg"]: value };
} else if (code === 0) style = PLAIN;
else if (code === 4) style = { ...style, underline: more[0] !== 0 };
else if (SIMPLE[code]) style = { ...style, ...SIMPLE[code] };
else if (code >= 30 && code <= 37) style = { ...style, fg: code - 30 };
else if (code >= 40 && code <= 47) style = { ...style, bg: code - 40 };
else if (code >= 90 && code <= 97) style = { ...style, fg: code - 82 };
else if (code >= 100 && code <= 107) style = { ...style, bg: code - 92 };
}
return style;
}
function colour(values) {
if (values.length >= 2 && values[0] === 5 && values[1] < 256) return values[1];
const parts = values.slice(1, 4);
if (values[0] === 2 && parts.length === 3 && Math.max(...parts) < 256)
return "#" + parts.map((part) => part.toString(16).padStart(2, "0")).join("");
return null;
}
const looks = new Map(); // as many as a log has styles; emptied when a log invents them without end
function lookOf(style, themeName) {
const key = themeName + Object.values(style).join();
let look = looks.get(key);
if (!look) {
if (looks.size > 4096) looks.clear();
looks.set(key, (look = makeLook(style, THEMES[themeName])));
}
return look;
}
function makeLook(style, theme) {
const names = ["bold", "italic", "underline", "strike"].filter((name) => style[name]).map((name) => "xec-" + name);
const [fg, bg] = style.inverse ? [style.bg, style.fg] : [style.fg, style.bg];
let css = "";
if (!style.inverse && !style.dim && bg === null && typeof fg === "number" && fg < 16) names.push("xec-f" + fg);
else if (fg !== null || bg !== null || style.inverse || style.dim) {
const page = rgb(theme.page);
const ground = resolve(bg, theme.grounds) ?? (style.inverse ? rgb(theme.text) : null);
let letters = resolve(fg, theme.letters) ?? (style.inverse ? page : rgb(theme.text));
if (style.dim) letters = mix(letters, ground ?? page, 0.35);
css = "color:" + hex(readable(letters, ground ?? page));
if (ground) css += ";background:" + hex(ground);
}
return { names: names.join(" "), css };
}
const resolve = (value, table) => (value === null ? null : typeof value === "string" ? rgb(value) : indexed(value, table));
function colourRules() {
return Object.entries(THEMES)
.flatMap(([name, theme]) => theme.letters.map((value, at) => `.xec-${name} .xec-f${at}{color:${value}}`))
.join("");
}
const RING = 5000;
const BAD_LINE =
/\b(?:error|fatal|exception|traceback|panic|failed|failure|segmentation fault|permission denied|no such file|command not found)\b/i;
const NOT_BAD_LINE =
/\b(?:no|0|zero|without|ignoring|any) (?:errors?|failures?|failed)\b|\b(?:errors?|failed|failures?)[:= ]+0\b/i;
const looksBad = (text) => BAD_LINE.test(text) && !NOT_BAD_LINE.test(text);
class LineReader {
constructor(style = PLAIN) {
this.style = style;
this.decoders = [0, 1].map(() => new TextDecoder("utf-8", { ignoreBOM: true }));
}
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
const { spans, style } = parseLine(text, this.style);
this.style = style;
return makeRow(first + index, spans, err, index ? 0 : cut);
});
}
}
function makeRow(n, spans, err, cut = 0) {
const text = spans.map((span) => span.text).join("");
return { n, spans, err, cut, length: text.length, bad: looksBad(text) };
}
class Log {
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
get first() {
return this.rows.length ? this.rows[0].n : this.next;
}
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
const PATIENCE_MS = 120_000;
class Questions {
constructor(model) {
this.model = model;
this.open = new Map();
this.last = 0;
}
ask(op, details = {}) {
const id = ++this.last;
return new Promise((resolve) => {
const timer = setTimeout(() => this.settle({ id, problem: "the kernel did not answer" }), PATIENCE_MS);
this.open.set(id, { resolve, timer });
this.model.send({ op, id, ...details });
});
}
settle(reply, data) {
const question = this.open.get(reply.id);
if (!question) return;
this.open.delete(reply.id);
clearTimeout(question.timer);
question.resolve({ ...reply, data: data ?? new Uint8Array() });
}
}
const HEARD_MS = 600; // a kernel that serves messages beside a running cell answers in a tenth of this
function serverSettings() {
try {
return JSON.parse(document.getElementById("jupyter-config-data").textContent);
} catch {
return null;
}
}
async function interruptKernel(id) {
const settings = serverSettings();
if (!settings || !id) return false;
const headers = {};
const xsrf = document.cookie.match(/(?:^|; *)_xsrf=([^;]*)/);
if (xsrf) headers["X-XSRFToken"] = xsrf[1];
if (settings.token) headers.Authorization = "token " + settings.token;
try {
return (await fetch(`${settings.baseUrl}api/kernels/${id}/interrupt`, { method: "POST", headers })).ok;
} catch {
return false;
}
}
function stopButton(model, say) {
const button = document.createElement("button");
button.type = "button";
button.className = "xec-stop";
let presses = 0;
const draw = () => {
presses = Math.max(presses, model.get("heard"));
button.textContent = presses ? "Kill now" : "Stop";
button.title = presses ? "End it at once (SIGKILL)" : "Ask the command to end (interrupt, then terminate, then kill)";
button.hidden = model.get("state") === "done";
};
button.onclick = () => {
const press = ++presses;
model.send({ op: press > 1 ? "kill" : "stop" });
draw();
setTimeout(async () => {
if (model.get("heard") >= press || !model.get("blocking") || model.get("state") === "done") return;
if (!(await interruptKernel(model.get("kernel_id")))) say("not heard yet: use the notebook's interrupt button");
}, HEARD_MS);
};
model.on("change:heard change:state", draw);
draw();
return button;
}
const CHUNK = 50; // rows an element; whole chunks come and go
const EAGER = 60; // rows at the end that are drawn at once; more than fit into the box
const IDLE_MS = 300;
const STEP = 500; // lines asked for at a time
const AROUND = 200; // lines shown before a line that was jumped to
const MEANT_MS = 1000; // a scroll this soon after a wheel, key or pointer is the reader's
const TOUCHED_MS = 250; // else one this soon after a change of rows is the browser's
const LINE_PX = 17; // as in the style sheet
const LONG = 400; // characters; longer lines wrap, so that one does not make everything scroll sideways
const counted = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
const make = (name, className, text = "") => {
const element = document.createElement(name);
element.className = className;
element.textContent = text;
return element;
};
function drawRow(row, theme) {
const element = make("div", "xec-row" + (row.err ? " xec-err" : "") + (row.bad ? " xec-bad" : "") + (row.length > LONG ? " xec-long" : ""));
if (row.cut) element.append(make("span", "xec-note", `… ${counted(row.cut, "byte")} of this line not shown … `));
for (const { text, style } of row.spans) {
const { names, css } = lookOf(style, theme);
if (names || css) {
const span = make("span", names, text);
if (css) span.style.cssText = css;
element.append(span);
} else element.append(text);
}
if (!row.length) element.append("\n"); // keeps its height, and its line when copied
return element;
}
class Pane {
constructor(log, questions, say) {
this.log = log;
this.questions = questions;
this.say = say;
this.hit = -1;
this.theme = "light";
this.meantAt = this.touchedAt = -Infinity;
this.lastTop = 0;
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
const meant = (event) => (this.meantAt = event.timeStamp);
for (const type of ["wheel", "touchmove", "pointerdown", "pointermove", "keydown"]) this.box.addEventListener(type, meant, { passive: true });
this.seen = new IntersectionObserver(
(entries) => entries.filter((entry) => entry.isIntersecting).forEach((entry) => this.fillInPlace(entry.target)),
{ root: this.box, rootMargin: "600px 0px" },
);
this.listener = (added, fresh) => this.grown(added, fresh);
log.listeners.add(this.listener);
this.follow();
}
dispose() {
this.log.listeners.delete(this.listener);
this.seen.disconnect();
clearTimeout(this.idle);
}
follow() {
this.following = true;
this.loading = false;
this.clear();
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
append(rows) {
if (rows.length > EAGER) {
if (this.following) this.undrawAll();
this.fillLater(IDLE_MS); // not before the flood is over
}
rows.forEach((row, index) => {
let chunk = this.rows.lastElementChild;
if (!chunk?.xecRows || chunk.xecRows.length >= CHUNK) {
chunk = this.chunk([]);
this.rows.append(chunk);
}
chunk.xecRows.push(row);
if (chunk.xecDrawn) chunk.append(this.draw1(row));
else if (rows.length - index <= EAGER) this.fill(chunk);
else this.measure(chunk);
});
this.count += rows.length;
}
chunk(rows) {
const chunk = make("div", "xec-chunk");
chunk.xecRows = rows;
this.measure(chunk);
this.seen.observe(chunk);
return chunk;
}
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
undrawAll() {
for (const chunk of this.rows.children) {
if (!chunk.xecDrawn) continue;
chunk.xecDrawn = false;
chunk.replaceChildren();
this.measure(chunk);
this.seen.observe(chunk);
}
}
fillInPlace(chunk) {
const before = chunk.offsetHeight;
this.fill(chunk);
const grown = chunk.offsetHeight - before;
if (this.following) this.bottom();
else {
if (grown && chunk.offsetTop < this.box.scrollTop) this.box.scrollTop += grown;
this.touched();
}
}
fillLater(delay) {
clearTimeout(this.idle);
this.idle = setTimeout(() => {
const chunk = [...this.rows.children].findLast((one) => one.xecRows && !one.xecDrawn);
if (!chunk) return;
this.fillInPlace(chunk);
this.fillLater(30);
}, delay);
}
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
if (chunk.xecRows) this.count -= chunk.xecRows.length;
chunk.remove();
this.first = this.rows.firstElementChild.xecRows[0].n;
}
if (this.first > 0 && this.rows.firstElementChild?.xecRows) this.rows.prepend(this.earlier());
else if (this.first > 0 && this.rows.firstElementChild) this.rows.firstElementChild.textContent = `${counted(this.first, "earlier line")}: show them`;
}
scrolled() {
const { scrollTop, scrollHeight, clientHeight } = this.box;
const moved = scrollTop - this.lastTop;
this.lastTop = scrollTop;
const now = performance.now();
if (now - this.meantAt > MEANT_MS && now - this.touchedAt < TOUCHED_MS) return;
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
touched() {
this.touchedAt = performance.now();
this.lastTop = this.box.scrollTop;
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
const PAUSE_MS = 300; // typing ends
function searchBox(questions, pane) {
const box = document.createElement("span");
box.className = "xec-search";
const input = document.createElement("input");
input.type = "search";
input.placeholder = "Search output";
input.setAttribute("aria-label", "Search the whole output");
const count = document.createElement("span");
count.className = "xec-count";
count.setAttribute("role", "status");
const button = (text, label) => {
const element = document.createElement("button");
element.type = "button";
element.textContent = text;
element.title = label;
element.setAttribute("aria-label", label);
return element;
};
const regex = button(".*", "Regular expression");
regex.setAttribute("aria-pressed", "false");
const previous = button("↑", "Previous match");
const next = button("↓", "Next match");
box.append(input, regex, previous, next, count);
let found = { lines: [], total: 0 };
let at = -1;
let asked = 0;
let timer = 0;
const draw = () => {
previous.disabled = next.disabled = !found.lines.length;
count.textContent = !input.value
? ""
: found.problem
? found.problem
: found.total
? `${(at + 1).toLocaleString("en")} of ${found.total.toLocaleString("en")} line${found.total === 1 ? "" : "s"}`
: "not found";
};
const show = (index) => {
at = (index + found.lines.length) % found.lines.length;
draw();
pane.goTo(found.lines[at]);
};
const search = async () => {
clearTimeout(timer);
const mine = ++asked;
found = { lines: [], total: 0 };
at = -1;
if (!input.value) return draw();
count.textContent = "searching…";
const reply = await questions.ask("find", { text: input.value, regex: regex.getAttribute("aria-pressed") === "true" });
if (mine !== asked) return;
found = { lines: [], total: 0, ...reply };
if (found.lines.length) show(found.lines.length - 1);
else draw();
};
input.addEventListener("input", () => {
clearTimeout(timer);
timer = setTimeout(search, PAUSE_MS);
});
input.addEventListener("keydown", (event) => {
if (event.key === "Enter") {
event.preventDefault();
if (at < 0) search();
else show(at + (event.shiftKey ? -1 : 1));
} else if (event.key === "Escape") {
input.value = "";
search();
}
});
regex.onclick = () => {
regex.setAttribute("aria-pressed", String(regex.getAttribute("aria-pressed") !== "true"));
search();
};
previous.onclick = () => show(at - 1);
next.onclick = () => show(at + 1);
draw();
return box;
}
function copyButton(questions, say) {
const button = document.createElement("button");
button.type = "button";
button.textContent = "Copy";
button.title = "Copy the whole output";
button.onclick = async () => {
button.disabled = true;
const reply = await questions.ask("copy");
button.disabled = false;
if (reply.problem) return say(reply.problem);
const text = new TextDecoder().decode(reply.data);
say((await toClipboard(text)) ? "copied" : "the browser refused the clipboard");
};
return button;
}
async function toClipboard(text) {
try {
await navigator.clipboard.writeText(text);
return true;
} catch {
const field = document.createElement("textarea");
field.value = text;
field.style.cssText = "position:fixed;opacity:0";
document.body.append(field);
field.select();
const done = document.execCommand("copy");
field.remove();
return done;
}
}
function elapsedText(seconds) {
const whole = Math.floor(seconds);
if (whole < 60) return `${whole} s`;
if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}
const span = (className, text = "") => {
const element = document.createElement("span");
element.className = className;
element.textContent = text;
return element;
};
function header(model) {
const head = model.get("head");
const element = document.createElement("div");
element.className = "xec-head";
const status = span("xec-status");
status.setAttribute("role", "status");
const state = span("xec-state");
const note = span("xec-said");
status.append(state, note);
const title = span("xec-title", head.title);
title.title = head.title;
const badge = span("xec-badge");
const again = document.createElement("button");
again.type = "button";
again.textContent = "Refresh";
again.title = "Run it again, and keep the new result";
again.onclick = () => model.send({ op: "refresh" });
const time = span("xec-time");
element.append(status, ...(head.target ? [span("xec-target", head.target)] : []), title, badge, again, time);
let base = model.get("elapsed");
let since = performance.now();
let message = "";
const tick = () => {
const done = model.get("state") === "done";
time.textContent = done ? "" : elapsedText(base + (performance.now() - since) / 1000);
};
const draw = () => {
const word = model.get("state");
const end = model.get("end");
state.textContent = word !== "done" ? word : end.ok ? "done" : "failed";
state.dataset.state = word !== "done" ? word : end.ok ? "ok" : "bad";
note.textContent = message || model.get("note");
badge.textContent = model.get("cached") ? model.get("cached") + " ·" : "";
badge.hidden = again.hidden = !model.get("cached");
tick();
};
model.on("change:elapsed", () => {
base = model.get("elapsed");
since = performance.now();
tick();
});
model.on("change:state change:note change:cached", () => {
message = "";
draw();
});
const timer = setInterval(tick, 1000);
draw();
return {
element,
say(text) {
message = text;
draw();
},
dispose: () => clearInterval(timer),
};
}
function footer(model) {
const element = document.createElement("div");
element.className = "xec-foot";
const draw = () => {
const end = model.get("end");
element.hidden = model.get("state") !== "done";
if (element.hidden) return;
const words = document.createElement(end.ok ? "span" : "strong");
words.className = end.ok ? "" : "xec-failed";
words.textContent = end.words;
element.replaceChildren(words, ...(end.facts ?? []).map((fact) => " · " + fact));
};
model.on("change:state change:end", draw);
draw();
return element;
}
const bytes = (view) => (view ? new Uint8Array(view.buffer, view.byteOffset, view.byteLength) : new Uint8Array());
function followTheme(root, changed) {
const system = matchMedia("(prefers-color-scheme: dark)");
const draw = () => {
const light = document.body.dataset.jpThemeLight;
const dark = light === undefined ? system.matches : light === "false";
root.classList.toggle("xec-dark", dark);
root.classList.toggle("xec-light", !dark);
changed(dark ? "dark" : "light");
};
const observer = new MutationObserver(draw);
observer.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light"] });
system.addEventListener("change", draw);
draw();
return () => {
observer.disconnect();
system.removeEventListener("change", draw);
};
}
function render({ model, el, log, questions }) {
const head = model.get("head");
const root = document.createElement("div");
root.className = "xec";
root.setAttribute("role", "group");
root.setAttribute("aria-label", "Run: " + head.title);
root.addEventListener("focusin", (event) => (event.target.dataset.lmSuppressShortcuts = "true"));
const colours = document.createElement("style");
colours.textContent = colourRules();
const top = header(model);
const pane = new Pane(log, questions, top.say);
const wrap = document.createElement("button");
wrap.type = "button";
wrap.textContent = "Wrap";
wrap.title = "Wrap long lines";
wrap.setAttribute("aria-pressed", "false");
wrap.onclick = () => wrap.setAttribute("aria-pressed", String(pane.box.classList.toggle("xec-wrap")));
const tools = document.createElement("span");
tools.className = "xec-tools";
tools.append(searchBox(questions, pane), wrap, copyButton(questions, top.say), stopButton(model, top.say));
top.element.append(tools);
root.append(colours, top.element);
if (head.script) {
const script = document.createElement("pre");
script.className = "xec-script";
script.textContent = head.script;
root.append(script);
}
root.append(pane.element, footer(model));
el.append(root);
const forget = followTheme(root, (theme) => pane.setTheme(theme));
requestAnimationFrame(() => pane.bottom()); // it had no height before
return () => {
forget();
top.dispose();
pane.dispose();
};
}
function listen(model, log, questions) {
const heal = () => {
const snap = model.get("snap");
if (snap?.epoch) log.apply(snap, bytes(snap.data), bytes(snap.partial));
};
model.on("msg:custom", (message, buffers) => {
if (message.t === "lines") log.apply(message, bytes(buffers[0]), bytes(buffers[1]));
else if (message.t === "reply") questions.settle(message, bytes(buffers[0]));
});
model.on("change:snap", heal);
heal();
}
export default () => {
const log = new Log();
let questions;
return {
initialize({ model }) {
questions = new Questions(model);
listen(model, log, questions);
},
render: ({ model, el }) => render({ model, el, log, questions }),
};
};
