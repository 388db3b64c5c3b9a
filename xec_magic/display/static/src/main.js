// The module that anywidget loads: a widget's `initialize` once a model, its `render` once a view of it.

import { Questions } from "./ask.js";
import { Chart } from "./chart.js";
import { copyButton } from "./copy.js";
import { button, make } from "./dom.js";
import { footer, header } from "./head.js";
import { Log } from "./log.js";
import { colourRules } from "./look.js";
import { Pane } from "./pane.js";
import { Samples } from "./samples.js";
import { searchBox } from "./search.js";
import { stopButton } from "./stop.js";
import { followTheme } from "./theme.js";

const bytes = (view) => (view ? new Uint8Array(view.buffer, view.byteOffset, view.byteLength) : new Uint8Array());

function render({ model, el, log, questions, samples }) {
  const head = model.get("head");
  const root = make("div", "xec", "", { role: "group", "aria-label": (head.bare ? "" : "Run: ") + head.title });
  // Keys typed here are no notebook commands; JupyterLab wants that said on the very element that has the focus.
  root.addEventListener("focusin", (event) => (event.target.dataset.lmSuppressShortcuts = "true"));
  const colours = make("style", "", colourRules());

  const top = header(model);
  const pane = new Pane(log, questions, top.say);
  const toggle = () => wrap.setAttribute("aria-pressed", String(pane.box.classList.toggle("xec-wrap")));
  const wrap = button("Wrap", toggle, "Wrap long lines");
  wrap.setAttribute("aria-pressed", "false");
  const tools = make("span", "xec-tools");
  if (!head.bare) tools.append(searchBox(questions, pane), wrap, copyButton(questions, top.say));
  tools.append(stopButton(model, top.say));
  top.element.append(tools);

  root.append(colours, top.element);
  if (head.script) root.append(make("pre", "xec-script", head.script));
  const chart = head.chart ? new Chart(samples) : null;
  if (chart) root.append(chart.element);
  if (!head.bare) root.append(pane.element); // what is watched without a command prints nothing
  root.append(footer(model));
  el.append(root);
  const forget = followTheme(root, (theme) => {
    pane.setTheme(theme);
    chart?.later();
  });
  return () => {
    forget();
    top.dispose();
    pane.dispose();
    chart?.dispose();
  };
}

// Listens as soon as there is a model: what arrives before the first view would be lost otherwise.
function listen(model, log, questions, samples) {
  const heal = () => {
    const snap = model.get("snap");
    if (snap?.epoch) log.apply(snap, bytes(snap.data), bytes(snap.partial));
  };
  const askForAll = async () => {
    const reply = await questions.ask("use");
    if (!reply.problem) samples.take(reply, reply.data);
  };
  model.on("msg:custom", (message, buffers) => {
    if (message.t === "lines") log.apply(message, bytes(buffers[0]), bytes(buffers[1]));
    else if (message.t === "use") samples.take(message, bytes(buffers[0])) || askForAll();
    else if (message.t === "reply") questions.settle(message, bytes(buffers[0]));
  });
  model.on("change:snap", heal);
  heal();
  if (model.get("head").chart) askForAll(); // a page that was loaded again has missed all that was sent
}

// Called once a model; all views of it share the log.
export default () => {
  const log = new Log();
  const samples = new Samples();
  let questions;
  return {
    initialize({ model }) {
      questions = new Questions(model);
      listen(model, log, questions, samples);
    },
    render: ({ model, el }) => render({ model, el, log, questions, samples }),
  };
};
