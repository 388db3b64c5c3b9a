// The colours of terminal output in both themes, and the arithmetic that keeps every pair readable.

export const AA = 4.5; // WCAG 2.2, 1.4.3
const GROUNDS = [
  "#24292f", "#c5221f", "#0b7a2c", "#d4a72c", "#0b57d0", "#8e24aa", "#1b7c83", "#d0d7de",
  "#57606a", "#ff8182", "#4ac26b", "#eac54f", "#54aeff", "#c297ff", "#6fd6df", "#ffffff",
];
export const THEMES = {
  light: {
    page: "#ffffff", text: "#24292f", marked: "#ffebe9", grounds: GROUNDS,
    letters: [
      "#24292f", "#c5221f", "#0b7a2c", "#7d5700", "#0b57d0", "#8e24aa", "#006a75", "#57606a",
      "#57606a", "#b3140f", "#116329", "#6b4a00", "#0a4bb3", "#7a1d94", "#00565f", "#1f2328",
    ],
  },
  dark: {
    page: "#212121", text: "#e6e6e6", marked: "#3d2023", grounds: GROUNDS,
    letters: [
      "#b0b0b0", "#ff8a80", "#69d58c", "#f7cf5b", "#8ab4f8", "#e29bf0", "#6fd6df", "#d0d0d0",
      "#a8a8a8", "#ffaba4", "#93e5ae", "#fbe08d", "#b3cffb", "#edc0f6", "#a0e6ec", "#ffffff",
    ],
  },
};
const CUBE = [0, 95, 135, 175, 215, 255]; // xterm's steps of the 6x6x6 cube

export const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
export const hex = (colour) => "#" + colour.map((part) => part.toString(16).padStart(2, "0")).join("");

export function indexed(number, table) {
  if (number < 16) return rgb(table[number]);
  if (number > 231) return Array(3).fill(8 + 10 * (number - 232));
  number -= 16;
  return [CUBE[Math.floor(number / 36)], CUBE[Math.floor(number / 6) % 6], CUBE[number % 6]];
}

function luminance(colour) {
  const [r, g, b] = colour.map((part) => part / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

export function contrast(one, other) {
  const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
}

export const mix = (one, other, share) => one.map((part, at) => Math.round(part + (other[at] - part) * share));

// The letters, moved towards black or white as little as gives them AA on the ground.
export function readable(letters, ground) {
  const end = contrast([0, 0, 0], ground) > contrast([255, 255, 255], ground) ? [0, 0, 0] : [255, 255, 255];
  for (let tenths = 0; tenths < 10; tenths++) {
    const moved = mix(letters, end, tenths / 10);
    if (contrast(moved, ground) >= AA) return moved;
  }
  return end;
}
