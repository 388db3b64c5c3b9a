import assert from "node:assert/strict";
import test from "node:test";
import { PLAIN } from "../../xec_magic/display/static/src/sgr.js";
import { LineReader, Log, RING, visible, looksBad } from "../../xec_magic/display/static/src/log.js";

const utf8 = (text) => new TextEncoder().encode(text);
const send = (log, first, text, { epoch = 1, partial = "", marks, cut = 0 } = {}) => {
  const data = utf8(text);
  const message = { epoch, first, n: text.split("\n").length - 1, marks: marks ?? [data.length], pmarks: [utf8(partial).length], cut };
  log.apply(message, data, utf8(partial));
};
const texts = (log) => log.rows.map((row) => (row.gap ? `gap ${row.gap}` : visible(row).spans.map((span) => span.text).join("")));

test("batches become numbered rows", () => {
  const log = new Log();
  send(log, 0, "a\nb\n");
  send(log, 2, "c\n", { partial: "d" });
  assert.deepEqual(texts(log), ["a", "b", "c"]);
  assert.deepEqual(log.rows.map((row) => row.n), [0, 1, 2]);
  assert.equal(visible(log.partial).spans[0].text, "d");
  send(log, 3, "de\n");
  assert.equal(log.partial, null);
  assert.deepEqual([log.first, log.next], [0, 4]);
});

test("a gap is said, with its size and place", () => {
  const log = new Log();
  send(log, 0, "a\n");
  send(log, 100, "b\n");
  assert.deepEqual(texts(log), ["a", "gap 99", "b"]);
  assert.equal(log.rows[1].n, 1);
});

test("a snapshot heals what was lost, and repeats nothing", () => {
  const log = new Log();
  send(log, 0, "a\n");
  send(log, 0, "a\nb\nc\n");
  send(log, 1, "b\nc\n");
  assert.deepEqual(texts(log), ["a", "b", "c"]);
});

test("a late batch changes nothing", () => {
  const log = new Log();
  send(log, 0, "a\nb\n", { partial: "new" });
  send(log, 0, "a\n", { partial: "old" });
  assert.deepEqual(texts(log), ["a", "b"]);
  assert.equal(visible(log.partial).spans[0].text, "new");
});

test("a further attempt begins again", () => {
  const log = new Log();
  send(log, 0, "a\nb\n");
  send(log, 0, "c\n", { epoch: 2 });
  send(log, 2, "late\n", { epoch: 1 });
  assert.deepEqual(texts(log), ["c"]);
});

test("the ring is bounded", () => {
  const log = new Log();
  for (let first = 0; first < 3 * RING; first += 1000) send(log, first, "x\n".repeat(1000));
  assert.equal(log.rows.length, RING);
  assert.equal(log.first, 2 * RING);
});

test("colours go on across batches, but not across gaps", () => {
  const log = new Log();
  send(log, 0, "\x1b[31mred\n");
  send(log, 1, "still\n");
  send(log, 5, "plain\n");
  assert.deepEqual(log.rows.filter((row) => !row.gap).map((row) => visible(row).spans[0].style.fg), [1, 1, null]);
});

test("a style goes on over lines that are never drawn", () => {
  const styles = (text) => {
    const log = new Log();
    send(log, 0, text + "\nlast\n");
    return visible(log.rows.at(-1)).spans[0].style;
  };
  assert.equal(styles("\x1b[31mred\nplain \x1b[1mbold\nx").bold, true);
  assert.equal(styles("\x1b[31mred\nplain \x1b[1mbold\nx").fg, 1);
  for (const reset of ["\x1b[m", "\x1b[0m", "\x1b[00m end", "\x1b[0m\x1b[K", "\x1b[32m\x1b[0;m"]) assert.deepEqual(styles("\x1b[31mred" + reset), PLAIN, reset);
  for (const other of ["\x1b[0;1m", "\x1b[K", "\x1b[0K", "\x1b]0;m\x07", "\x1b[0"]) assert.equal(styles("\x1b[31mred" + other).fg ?? (other === "\x1b[0;1m" ? 1 : null), 1, other);
});

test("rows know their stream, and look bad when they speak of errors", () => {
  const log = new Log();
  send(log, 0, "out\nerr\nerror: x\n", { marks: [4, 4, 9] });
  assert.deepEqual(log.rows.map((row) => row.err), [false, true, false]);
  assert.deepEqual(log.rows.map((row) => visible(row).bad), [false, false, true]);
  assert.ok(!looksBad("0 errors"));
});

test("a character may be cut by a batch and by the other stream", () => {
  const reader = new LineReader();
  const [first, second] = [...utf8("é")];
  const bytes = new Uint8Array([first, 120, second, 10, 255, 10]);
  assert.deepEqual(reader.split(bytes, [1, 1, 4]), [
    { text: "xé", err: true },
    { text: "\ufffd", err: false },
    { text: "", err: false },
  ]);
});

test("what is missing of a long line is known", () => {
  const log = new Log();
  send(log, 0, "end of a long line\n", { cut: 1234 });
  assert.equal(log.rows[0].cut, 1234);
});

test("listeners hear what was added, and when everything is new", () => {
  const log = new Log();
  const heard = [];
  log.listeners.add((added, fresh) => heard.push([added.length, fresh]));
  send(log, 0, "a\nb\n");
  send(log, 2, "c\n");
  assert.deepEqual(heard, [[2, true], [1, false]]);
});
