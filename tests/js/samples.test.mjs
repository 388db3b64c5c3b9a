import assert from "node:assert/strict";
import test from "node:test";
import { Samples, roundStep, sizeText } from "../../xec_magic/display/static/src/samples.js";
import { usually } from "../../xec_magic/display/static/src/head.js";

const row = (time, memory = 1) => [time, 0.5, memory, NaN, 0, NaN, NaN];
const bytes = (...rows) => new Uint8Array(new Float32Array(rows.flat()).buffer);

test("rows come in order and are read by time", () => {
  const samples = new Samples();
  assert.equal(samples.take({ whole: true, next: 2, marks: [] }, bytes(row(0.5), row(1))), true);
  assert.equal(samples.take({ first: 2, next: 3 }, bytes(row(1.5, 7))), true);
  assert.equal(samples.end, 1.5);
  assert.equal(samples.near(1.4)[2], 7);
  assert.equal(samples.near(-5)[0], 0.5);
});

test("bytes may begin anywhere in their buffer", () => {
  const data = bytes(row(2));
  const shifted = new Uint8Array(data.length + 3);
  shifted.set(data, 3);
  const samples = new Samples();
  samples.take({ whole: true, next: 1, marks: [] }, shifted.subarray(3));
  assert.equal(samples.end, 2);
});

test("a message that was lost is noticed, and all rows mend it", () => {
  const samples = new Samples();
  samples.take({ whole: true, next: 1, marks: [] }, bytes(row(1)));
  assert.equal(samples.take({ first: 5, next: 6 }, bytes(row(6))), false);
  assert.equal(samples.take({ whole: true, next: 6, marks: [[2, "x"]] }, bytes(...[1, 2, 3, 4, 5, 6].map((t) => row(t)))), true);
  assert.equal(samples.rows.length, 6);
  assert.deepEqual(samples.marks, [[2, "x"]]);
  assert.equal(samples.take({ first: 6, next: 7 }, bytes(row(7))), true);
});

test("rows are bounded, and a gap among them stays", () => {
  const samples = new Samples();
  samples.take({ whole: true, next: 1, marks: [] }, bytes([1, NaN, NaN, NaN, NaN, NaN, NaN]));
  for (let n = 1; n < 5000; n++) samples.take({ first: n, next: n + 1 }, bytes(row(n + 1)));
  assert.ok(samples.rows.length <= 1200);
  assert.equal(samples.rows.filter((one) => Number.isNaN(one[2])).length, 1);
  assert.equal(samples.end, 5000);
});

test("those who draw hear of each message", () => {
  const samples = new Samples();
  let heard = 0;
  samples.listeners.add(() => heard++);
  samples.take({ whole: true, next: 0, marks: [] }, bytes());
  samples.take({ first: 0, next: 1 }, bytes(row(1)));
  assert.equal(heard, 2);
});

test("sizes and steps are round", () => {
  assert.deepEqual([0, 900, 2048, 1.5 * 2 ** 30].map(sizeText), ["0 B", "900 B", "2.0 KiB", "1.5 GiB"]);
  assert.deepEqual([10, 7, 0.6, 3600].map((span) => roundStep(span, 6)), [2, 2, 0.1, 1000]);
  assert.ok(roundStep(0, 6) > 0);
});

test("what is to be expected stands beside the time", () => {
  assert.equal(usually(12, null), "12 s");
  assert.equal(usually(12, 40), "12 s · usually 40 s · 28 s to go");
  assert.equal(usually(240, 40), "4 min 0 s · usually 40 s");
});
