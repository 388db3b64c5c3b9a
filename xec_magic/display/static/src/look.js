// A style to class names and, for colours beyond the sixteen, to inline colours of the theme.

import { THEMES, hex, indexed, mix, readable, rgb } from "./palette.js";

const looks = new Map(); // as many as a log has styles; emptied when a log invents them without end

export function lookOf(style, themeName) {
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

// The rules for the sixteen, so that the palette stands in one place.
export function colourRules() {
  return Object.entries(THEMES)
    .flatMap(([name, theme]) => theme.letters.map((value, at) => `.xec-${name} .xec-f${at}{color:${value}}`))
    .join("");
}
