// The module that anywidget loads: a widget's `initialize` once a model, its `render` once a view of it.

import { Questions } from "./ask.js";
import { copyButton } from "./copy.js";
import { footer, header } from "./head.js";
import { Log } from "./log.js";
import { colourRules } from "./look.js";
import { Pane } from "./pane.js";
import { searchBox } from "./search.js";
import { stopButton } from "./stop.js";

const bytes = (view) => (view ? new Uint8Array(view.buffer, view.byteOffset, view.byteLength) : new Uint8Array());

// Dark or light, as the page says, else as the system says; follows a change.
function followTheme(root, changed) {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const draw = () => {
    const light = document.body.dataset.jpThemeLight;
    const dark = light === undefined ? system.matches : light === "false";
    root.classList.toggle("xec-dark", dark);
    root.classList.toggle("xec-light", !dark);
    changed(dark ? "dark" : "light");
  };
  const observer = new MutationObserver(draw);
  observer.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light"] });
  system.addEventListener("change", draw);
  draw();
  return () => {
    observer.disconnect();
    system.removeEventListener("change", draw);
  };
}

function render({ model, el, log, questions }) {
  const head = model.get("head");
  const root = document.createElement("div");
  root.className = "xec";
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", "Run: " + head.title);
  // Keys typed here are no notebook commands; JupyterLab wants that said on the very element that has the focus.
  root.addEventListener("focusin", (event) => (event.target.dataset.lmSuppressShortcuts = "true"));
  const colours = document.createElement("style");
  colours.textContent = colourRules();

  const top = header(model);
  const pane = new Pane(log, questions, top.say);
  const wrap = document.createElement("button");
  wrap.type = "button";
  wrap.textContent = "Wrap";
  wrap.title = "Wrap long lines";
  wrap.setAttribute("aria-pressed", "false");
  wrap.onclick = () => wrap.setAttribute("aria-pressed", String(pane.box.classList.toggle("xec-wrap")));
  const tools = document.createElement("span");
  tools.className = "xec-tools";
  tools.append(searchBox(questions, pane), wrap, copyButton(questions, top.say), stopButton(model, top.say));
  top.element.append(tools);

  root.append(colours, top.element);
  if (head.script) {
    const script = document.createElement("pre");
    script.className = "xec-script";
    script.textContent = head.script;
    root.append(script);
  }
  root.append(pane.element, footer(model));
  el.append(root);
  const forget = followTheme(root, (theme) => pane.setTheme(theme));
  requestAnimationFrame(() => pane.bottom()); // it had no height before
  return () => {
    forget();
    top.dispose();
    pane.dispose();
  };
}

// Listens as soon as there is a model: what arrives before the first view would be lost otherwise.
function listen(model, log, questions) {
  const heal = () => {
    const snap = model.get("snap");
    if (snap?.epoch) log.apply(snap, bytes(snap.data), bytes(snap.partial));
  };
  model.on("msg:custom", (message, buffers) => {
    if (message.t === "lines") log.apply(message, bytes(buffers[0]), bytes(buffers[1]));
    else if (message.t === "reply") questions.settle(message, bytes(buffers[0]));
  });
  model.on("change:snap", heal);
  heal();
}

// Called once a model; all views of it share the log.
export default () => {
  const log = new Log();
  let questions;
  return {
    initialize({ model }) {
      questions = new Questions(model);
      listen(model, log, questions);
    },
    render: ({ model, el }) => render({ model, el, log, questions }),
  };
};
