import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import { PLAIN, parseLine } from "../../xec_magic/display/static/src/sgr.js";

const cases = JSON.parse(readFileSync(new URL("../display/ansi_cases.json", import.meta.url)));

for (const { line, spans, next } of cases) {
  test(`${JSON.stringify(line).slice(0, 50)} becomes spans, as in Python`, () => {
    const parsed = parseLine(line);
    assert.deepEqual(parsed.spans, spans.map(([text, look]) => ({ text, style: { ...PLAIN, ...look } })));
    assert.deepEqual(parsed.style, { ...PLAIN, ...next });
  });
}

test("a style goes on to the next line", () => {
  const { style } = parseLine("\x1b[1;31mfirst");
  assert.deepEqual(parseLine("second", style).spans[0].style, { ...PLAIN, fg: 1, bold: true });
});

test("bombs take linear time", () => {
  const begin = performance.now();
  for (const bomb of ["\x1b[" + "1;".repeat(200_000), "\x1b]".repeat(100_000), "\x1b[31m".repeat(50_000), "\r".repeat(200_000), "\x1b[".repeat(100_000), "x\b".repeat(100_000)])
    parseLine(bomb);
  assert.ok(performance.now() - begin < 5000);
});
