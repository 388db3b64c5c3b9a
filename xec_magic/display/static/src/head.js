// The lines above and below the output: state, title, time; how it ended.

import { button, make } from "./dom.js";

export function elapsedText(seconds) {
  const whole = Math.floor(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

const span = (className, text) => make("span", className, text);

// The time so far, and what is to be expected of a command that was run before.
export function usually(now, usual) {
  if (!usual) return elapsedText(now);
  const rest = usual - now;
  return `${elapsedText(now)} · usually ${elapsedText(Math.max(1, Math.round(usual)))}` + (rest > 1 ? ` · ${elapsedText(rest)} to go` : "");
}

export function header(model) {
  const head = model.get("head");
  const element = make("div", "xec-head");
  const status = make("span", "xec-status", "", { role: "status" });
  const state = span("xec-state");
  const note = span("xec-said");
  status.append(state, note);
  const title = span("xec-title", head.title);
  title.title = head.title;
  const badge = span("xec-badge");
  const again = button("Refresh", () => model.send({ op: "refresh" }), "Run it again, and keep the new result");
  const time = span("xec-time");
  const bar = make("progress", "", "", { "aria-label": "Progress" });
  bar.hidden = !head.usual;
  bar.max = head.usual || 1;
  element.append(status, ...(head.target ? [span("xec-target", head.target)] : []), title, badge, again, bar, time);

  let base = model.get("elapsed");
  let since = performance.now();
  let message = "";
  const tick = () => {
    const done = model.get("state") === "done";
    const now = base + (performance.now() - since) / 1000;
    time.textContent = done ? "" : usually(now, head.usual);
    bar.value = now;
    bar.hidden ||= done;
  };
  const draw = () => {
    const word = model.get("state");
    const end = model.get("end");
    state.textContent = word !== "done" ? word : end.ok ? "done" : "failed";
    state.dataset.state = word !== "done" ? word : end.ok ? "ok" : "bad";
    note.textContent = message || model.get("note");
    badge.textContent = model.get("cached") ? model.get("cached") + " ·" : "";
    badge.hidden = again.hidden = !model.get("cached");
    tick();
  };
  model.on("change:elapsed", () => {
    base = model.get("elapsed");
    since = performance.now();
    tick();
  });
  model.on("change:state change:note change:cached", () => {
    message = "";
    draw();
  });
  const timer = setInterval(tick, 1000);
  draw();
  return {
    element,
    say(text) {
      message = text;
      draw();
    },
    dispose: () => clearInterval(timer),
  };
}

export function footer(model) {
  const element = make("div", "xec-foot");
  const draw = () => {
    const end = model.get("end");
    element.hidden = model.get("state") !== "done";
    if (element.hidden) return;
    const words = make(end.ok ? "span" : "strong", end.ok ? "" : "xec-failed", end.words);
    element.replaceChildren(words, ...(end.facts ?? []).map((fact) => " · " + fact));
  };
  model.on("change:state change:end", draw);
  draw();
  return element;
}
