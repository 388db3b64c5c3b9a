import assert from "node:assert/strict";
import test from "node:test";
import { NAMED, QUANTITIES, Uses } from "../../xec_magic/display/static/src/uses.js";

const row = (time, cores, memory = 1) => [time, cores, memory, 2, 3, NaN, NaN];
const packed = (parts) => {
  const rows = parts.map(([, , found]) => new Uint8Array(new Float32Array(found.flat()).buffer));
  const bytes = new Uint8Array(rows.reduce((sum, each) => sum + each.length, 0));
  let at = 0;
  for (const each of rows) {
    bytes.set(each, at);
    at += each.length;
  }
  const hosts = parts.map(([number, more, found], at) => ({ number, later: 0, whole: true, next: found.length, marks: [], bytes: rows[at].length, ...more }));
  return [{ hosts }, bytes];
};

test("rows of several targets come in one message, each on the common axis of time", () => {
  const uses = new Uses(["a", "b", "c"]);
  assert.equal(uses.take(...packed([[0, {}, [row(1, 0.5), row(2, 0.5)]], [2, { later: 3 }, [row(1, 1)]]])), true);
  assert.deepEqual(uses.numbers, [0, 2]);
  assert.equal(uses.end, 4);
  assert.equal(uses.near(2, 4)[1], 1);
  assert.equal(uses.near(0, 1.9)[0], 2);
  assert.equal(uses.near(0, 60), undefined);
  assert.equal(uses.near(1, 1), undefined);
  assert.deepEqual(QUANTITIES.map((each) => each(uses.near(0, 1))), [0.5, 1, 5]);
});

test("a hole in the rows of one is told, so that all are asked for", () => {
  const uses = new Uses(["a", "b"]);
  uses.take(...packed([[0, {}, [row(1, 1)]], [1, {}, [row(1, 1)]]]));
  assert.equal(uses.take(...packed([[0, { whole: false, first: 1, next: 2 }, [row(2, 1)]]])), true);
  assert.equal(uses.take(...packed([[1, { whole: false, first: 5, next: 6 }, [row(6, 1)]]])), false);
});

test("of many the six that use most are named, and keep their colour while they stay among them", () => {
  const uses = new Uses(Array.from({ length: 9 }, (_, at) => `web${at}`));
  uses.take(...packed(uses.names.map((_, at) => [at, {}, [row(1, at < 3 ? 0.1 : 1)]])));
  assert.deepEqual(uses.places, [3, 4, 5, 6, 7, 8]);
  uses.take(...packed([[0, {}, [row(1, 9)]], [5, {}, [row(1, 0)]]]));
  assert.deepEqual(uses.places, [3, 4, 0, 6, 7, 8]);
  assert.equal(uses.places.length, NAMED);
});
