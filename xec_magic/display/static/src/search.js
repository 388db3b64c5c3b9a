// Search in the whole output, in the kernel; the page steps from one found line to the next.

import { button, make } from "./dom.js";
import { counted } from "./pane.js";

const PAUSE_MS = 300; // typing ends

export function searchBox(questions, pane) {
  const box = make("span", "xec-search");
  const input = make("input", "", "", { type: "search", placeholder: "Search output", "aria-label": "Search the whole output" });
  const count = make("span", "xec-count", "", { role: "status" });
  const labelled = (text, label) => {
    const element = button(text, null, label);
    element.setAttribute("aria-label", label);
    return element;
  };
  const regex = labelled(".*", "Regular expression");
  regex.setAttribute("aria-pressed", "false");
  const previous = labelled("↑", "Previous match");
  const next = labelled("↓", "Next match");
  box.append(input, regex, previous, next, count);

  let found = { lines: [], total: 0 };
  let at = -1;
  let asked = 0;
  let timer = 0;

  const draw = () => {
    previous.disabled = next.disabled = !found.lines.length;
    count.textContent = !input.value
      ? ""
      : found.problem
        ? found.problem
        : found.total
          ? `${(at + 1).toLocaleString("en")} of ${counted(found.total, "line")}`
          : "not found";
  };
  const show = (index) => {
    at = (index + found.lines.length) % found.lines.length;
    draw();
    pane.goTo(found.lines[at]);
  };
  const search = async () => {
    clearTimeout(timer);
    const mine = ++asked;
    found = { lines: [], total: 0 };
    at = -1;
    if (!input.value) return draw();
    count.textContent = "searching…";
    const reply = await questions.ask("find", { text: input.value, regex: regex.getAttribute("aria-pressed") === "true" });
    if (mine !== asked) return;
    found = { lines: [], total: 0, ...reply };
    // The last match first: people look for what has just happened.
    if (found.lines.length) show(found.lines.length - 1);
    else draw();
  };
  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(search, PAUSE_MS);
  });
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter") {
      event.preventDefault();
      if (at < 0) search();
      else show(at + (event.shiftKey ? -1 : 1));
    } else if (event.key === "Escape") {
      input.value = "";
      search();
    }
  });
  regex.onclick = () => {
    regex.setAttribute("aria-pressed", String(regex.getAttribute("aria-pressed") !== "true"));
    search();
  };
  previous.onclick = () => show(at - 1);
  next.onclick = () => show(at + 1);
  draw();
  return box;
}
