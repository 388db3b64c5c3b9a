import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import { Hosts, KEPT } from "../../xec_magic/display/static/src/hosts.js";

const NAMES = ["web01", "web02", "db1"];

test("rows change, and the counts with them", () => {
  const hosts = new Hosts(NAMES);
  assert.equal(hosts.summary, "3 waiting");
  hosts.update([[0, 1, 0.5, ""], [2, 3, 1.5, "exit code 3"], [99, 1, 0, ""]]);
  assert.equal(hosts.summary, "1 failed · 1 running · 1 waiting");
  hosts.update([[0, 2, 2, "done"], [1, 4, null, "not started"]]);
  assert.equal(hosts.summary, "1 ok · 1 failed · 1 not started");
  assert.equal(hosts.ended, 3);
});

test("rows are chosen by state and by text in name or last line", () => {
  const hosts = new Hosts(NAMES);
  hosts.update([[0, 3, 1, "Disk FULL"], [1, 2, 1, "ok"]]);
  assert.deepEqual(hosts.chosen([3, 4], ""), [0]);
  assert.deepEqual(hosts.chosen(null, "web"), [0, 1]);
  assert.deepEqual(hosts.chosen(null, "full"), [0]);
  assert.deepEqual(hosts.chosen([2], "db"), []);
});

test("lines are bounded, of all together and of each", () => {
  const hosts = new Hosts(NAMES);
  for (let at = 0; at < 5000; at++) hosts.add([[at % 2, `line ${at}`, false]], 1);
  assert.equal(hosts.shown(null).length, KEPT);
  assert.equal(hosts.shown(null).at(-1)[1], "line 4999");
  assert.ok(hosts.lines.length <= KEPT * 1.25);
  assert.equal(hosts.shown(0).at(-1)[1], "line 4998");
  assert.ok(hosts.shown(0).length <= 60);
  assert.deepEqual(hosts.shown(2), []);
  assert.equal(hosts.skipped, 5000);
  assert.equal(hosts.total, 5000);
});

test("the fleet's joined module loads by itself, and reads nothing as markup", async () => {
  const source = readFileSync(new URL("../../xec_magic/display/static/fleet.js", import.meta.url), "utf8");
  assert.ok(!/^\s*import\b|\bimport\(/m.test(source), "it stands alone");
  for (const word of ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "DOMParser"])
    assert.ok(!source.includes(word), word);
  const widget = (await import("data:text/javascript," + encodeURIComponent(source))).default();
  assert.equal(typeof widget.initialize, "function");
  assert.equal(typeof widget.render, "function");
});
