import assert from "node:assert/strict";
import test from "node:test";
import { Questions } from "../../xec_magic/display/static/src/ask.js";
import { elapsedText } from "../../xec_magic/display/static/src/head.js";

test("the joined module loads by itself, and offers what anywidget wants", async () => {
  const url = new URL("../../xec_magic/display/static/xec.js", import.meta.url);
  const { readFileSync } = await import("node:fs");
  const source = readFileSync(url, "utf8");
  assert.ok(!/^\s*import\b|\bimport\(/m.test(source), "it stands alone");
  const module = await import("data:text/javascript," + encodeURIComponent(source));
  const widget = module.default();
  assert.equal(typeof widget.initialize, "function");
  assert.equal(typeof widget.render, "function");
});

test("output is never read as markup", async () => {
  const { readFileSync } = await import("node:fs");
  const source = readFileSync(new URL("../../xec_magic/display/static/xec.js", import.meta.url), "utf8");
  for (const word of ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "DOMParser"])
    assert.ok(!source.includes(word), word);
});

test("answers find their question", async () => {
  const sent = [];
  const questions = new Questions({ send: (message) => sent.push(message) });
  const [one, two] = [questions.ask("page", { first: 1 }), questions.ask("find")];
  questions.settle({ id: 2, total: 5 });
  questions.settle({ id: 99 });
  questions.settle({ id: 1, problem: "no" }, new Uint8Array([1]));
  assert.deepEqual(sent, [{ op: "page", id: 1, first: 1 }, { op: "find", id: 2 }]);
  assert.equal((await two).total, 5);
  assert.deepEqual([...(await one).data], [1]);
});

test("elapsed time is short", () => {
  assert.deepEqual([0.9, 59, 61, 3600, 7384].map(elapsedText), ["0 s", "59 s", "1 min 1 s", "1 h 0 min", "2 h 3 min"]);
});
