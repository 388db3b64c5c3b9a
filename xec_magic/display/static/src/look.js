// A style to a class and, for colours beyond the sixteen, to a pair of custom properties: one a theme.

import { THEMES, hex, indexed, mix, readable, rgb } from "./palette.js";

const looks = new Map(); // as many as a log has styles; emptied when a log invents them without end

export function lookOf(style) {
  const key = Object.values(style).join();
  let look = looks.get(key);
  if (!look) {
    if (looks.size > 4096) looks.clear();
    looks.set(key, (look = makeLook(style)));
  }
  return look;
}

function makeLook(style) {
  const names = ["bold", "italic", "underline", "strike"].filter((name) => style[name]).map((name) => "xec-" + name);
  const css = {};
  const [fg, bg] = style.inverse ? [style.bg, style.fg] : [style.fg, style.bg];
  const simple = !style.inverse && !style.dim && bg === null && typeof fg === "number" && fg < 16;
  if (simple) names.push("xec-f" + fg);
  else if (fg !== null || bg !== null || style.inverse || style.dim) {
    names.push("xec-fg");
    for (const [name, theme] of Object.entries(THEMES)) {
      const page = rgb(theme.page);
      const ground = resolve(bg, theme.grounds) ?? (style.inverse ? rgb(theme.text) : null);
      let letters = resolve(fg, theme.letters) ?? (style.inverse ? page : rgb(theme.text));
      if (style.dim) letters = mix(letters, ground ?? page, 0.35);
      css["--xec-fg-" + name] = hex(readable(letters, ground ?? page));
      if (ground) css["--xec-bg-" + name] = hex(ground);
    }
    if (css["--xec-bg-light"]) names.push("xec-bg");
  }
  return { names: names.join(" "), css };
}

const resolve = (value, table) => (value === null ? null : typeof value === "string" ? rgb(value) : indexed(value, table));

// The rules for the sixteen, so that the palette stands in one place.
export function colourRules() {
  return Object.entries(THEMES)
    .flatMap(([name, theme]) => theme.letters.map((value, at) => `.xec-${name} .xec-f${at}{color:${value}}`))
    .join("");
}
