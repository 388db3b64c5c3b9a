import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import { colourRules, lookOf } from "../../xec_magic/display/static/src/look.js";
import { AA, THEMES, contrast, indexed, readable, rgb } from "../../xec_magic/display/static/src/palette.js";
import { PLAIN } from "../../xec_magic/display/static/src/sgr.js";

// The grounds that the style sheet puts behind letters.
const sheet = readFileSync(new URL("../../xec_magic/display/static/src/xec.css", import.meta.url), "utf8");
const grounds = (rule) => [...rule.matchAll(/--xec-(?:page|head|marked|hit): (#\w+)/g)].map(([, value]) => (value === "#fff" ? "#ffffff" : value));
const [lightRule, darkRule] = [sheet.match(/\.xec \{[^}]*\}/)[0], sheet.match(/\.xec\.xec-dark \{[^}]*\}/)[0]];
const PAGES = { light: grounds(lightRule), dark: [...grounds(darkRule), "#212121", "#000000"] };

for (const [name, theme] of Object.entries(THEMES)) {
  test(`letters of the ${name} theme are readable on each of its grounds`, () => {
    for (const letters of [...theme.letters, theme.text])
      for (const page of PAGES[name])
        assert.ok(contrast(rgb(letters), rgb(page)) >= AA, `${letters} on ${page}: ${contrast(rgb(letters), rgb(page)).toFixed(2)}`);
  });

  test(`any style of the ${name} theme is readable`, () => {
    const values = [null, 0, 3, 7, 9, 15, 17, 120, 244, "#808080", "#ffff00"];
    for (const fg of values)
      for (const bg of values)
        for (const dim of [false, true])
          for (const inverse of [false, true]) {
            const { css } = lookOf({ ...PLAIN, fg, bg, dim, inverse }, name);
            if (!css) continue;
            const [, letters, ground] = css.match(/^color:(#\w{6})(?:;background:(#\w{6}))?$/);
            assert.ok(contrast(rgb(letters), rgb(ground ?? theme.page)) >= AA, css);
          }
  });
}

test("the words of the head and the foot are readable", () => {
  for (const rule of [lightRule, darkRule])
    for (const [, letters] of rule.matchAll(/--xec-(?:text|muted|red|green): (#\w+)/g))
      for (const page of grounds(rule).slice(0, 2)) assert.ok(contrast(rgb(letters), rgb(page)) >= AA, `${letters} on ${page}`);
  assert.equal(PAGES.light.length, 4);
});

test("all 256 colours exist", () => {
  for (let number = 0; number < 256; number++) assert.ok(indexed(number, THEMES.light.letters).every((part) => part >= 0 && part < 256));
  assert.deepEqual(indexed(196, THEMES.light.letters), [255, 0, 0]);
  assert.deepEqual(indexed(232, THEMES.light.letters), [8, 8, 8]);
});

test("a readable colour stays what it is", () => {
  assert.deepEqual(readable([0, 0, 0], [255, 255, 255]), [0, 0, 0]);
});

test("the sixteen have a rule in each theme", () => {
  assert.equal(colourRules().match(/\.xec-f\d+\{/g).length, 32);
  assert.deepEqual(lookOf({ ...PLAIN, fg: 1, bold: true }, "dark"), { names: "xec-bold xec-f1", css: "" });
});
