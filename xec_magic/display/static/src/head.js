// The lines above and below the output: state, title, time; how it ended.

export function elapsedText(seconds) {
  const whole = Math.floor(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

const span = (className, text = "") => {
  const element = document.createElement("span");
  element.className = className;
  element.textContent = text;
  return element;
};

export function header(model) {
  const head = model.get("head");
  const element = document.createElement("div");
  element.className = "xec-head";
  const status = span("xec-status");
  status.setAttribute("role", "status");
  const state = span("xec-state");
  const note = span("xec-said");
  status.append(state, note);
  const title = span("xec-title", head.title);
  title.title = head.title;
  const badge = span("xec-badge");
  const again = document.createElement("button");
  again.type = "button";
  again.textContent = "Refresh";
  again.title = "Run it again, and keep the new result";
  again.onclick = () => model.send({ op: "refresh" });
  const time = span("xec-time");
  element.append(status, ...(head.target ? [span("xec-target", head.target)] : []), title, badge, again, time);

  let base = model.get("elapsed");
  let since = performance.now();
  let message = "";
  const tick = () => {
    const done = model.get("state") === "done";
    time.textContent = done ? "" : elapsedText(base + (performance.now() - since) / 1000);
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
  const element = document.createElement("div");
  element.className = "xec-foot";
  const draw = () => {
    const end = model.get("end");
    element.hidden = model.get("state") !== "done";
    if (element.hidden) return;
    const words = document.createElement(end.ok ? "span" : "strong");
    words.className = end.ok ? "" : "xec-failed";
    words.textContent = end.words;
    element.replaceChildren(words, ...(end.facts ?? []).map((fact) => " · " + fact));
  };
  model.on("change:state change:end", draw);
  draw();
  return element;
}
