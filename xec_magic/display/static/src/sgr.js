// One line of terminal output to spans of text and style. The same as xec_magic/display/ansi.py.

export const PLAIN = Object.freeze({
  fg: null, bg: null, bold: false, dim: false, italic: false, underline: false, strike: false, inverse: false,
});

const MAX_PARAMETERS = 64;
// An escape that is not finished matches none of the first three and is shown as the character it is.
const CONTROL = /[\0-\b\n-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]/;
const TOKEN = new RegExp(
  /\x1b\[([0-?]*)[ -/]*([@-~])|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[ -/]*[0-OQ-WYZ\\`-~]/.source + `|(${CONTROL.source})`, "g",
);
const OVERWRITES = /[\r\x08]|\x1b\[[0-?]*K/;

export function parseLine(line, style = PLAIN) {
  if (!CONTROL.test(line)) return { spans: line ? [{ text: line, style }] : [], style };
  return OVERWRITES.test(line) ? overwriting(line, style) : flowing(line, style);
}

// The style that the next line begins with. A line that ends with a reset, as most do, need not be parsed for it.
export function styleAfter(line, style) {
  const last = line.lastIndexOf("\x1b[");
  if (last < 0) return style;
  return /^0*m/.test(line.slice(last + 2, last + 5)) ? PLAIN : parseLine(line, style).style;
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

// Nothing for BEL and charset shifts, else the picture that Unicode has for a control character.
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
