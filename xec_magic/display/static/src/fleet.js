// The module of a fleet's widget: a table of targets, of which only the rows in sight are in the page, and their lines below.

import { button, make, whilePressed } from "./dom.js";
import { elapsedText, footer, header } from "./head.js";
import { HostChart } from "./hostchart.js";
import { Hosts, KEPT, STATES } from "./hosts.js";
import { stopButton } from "./stop.js";
import { followTheme } from "./theme.js";
import { Uses } from "./uses.js";

const ROW = 21; // pixels; the style sheet has the same
const SPARE = 6; // rows above and below those in sight

function table(hosts, now, choose) {
  const element = make("div", "xec-hosts", "", { role: "table", "aria-label": "Targets", tabindex: 0 });
  const space = make("div", "xec-space");
  element.append(space);
  const built = new Map();
  let numbers = [];
  let chosen = null;
  const cell = (name) => make("span", "xec-cell " + name, "", { role: "cell" });
  const makeRow = (number) => {
    const row = make("div", "xec-host", "", { role: "row" });
    const name = button(hosts.names[number], () => choose(number), "Show only the lines of " + hosts.names[number]);
    const first = cell("xec-name");
    first.append(name);
    row.append(first, cell("xec-how"), cell("xec-took"), cell("xec-last"));
    return row;
  };
  const fill = (row, number, place) => {
    const { state, time, last } = hosts.rows[number];
    row.style.top = place * ROW + "px";
    row.setAttribute("aria-rowindex", place + 1);
    row.classList.toggle("xec-chosen", number === chosen);
    row.dataset.state = state;
    row.firstChild.firstChild.setAttribute("aria-pressed", String(number === chosen));
    const took = time === null ? "" : state === 1 ? elapsedText(Math.max(0, now() - time)) : state === 4 ? "" : elapsedShort(time);
    [STATES[state], took, last].forEach((text, at) => {
      const one = row.children[at + 1];
      if (one.textContent !== text) one.textContent = text;
    });
  };
  const draw = () => {
    const first = Math.max(0, Math.floor(element.scrollTop / ROW) - SPARE);
    const end = Math.min(numbers.length, Math.ceil((element.scrollTop + element.clientHeight) / ROW) + SPARE);
    const wanted = new Set(numbers.slice(first, end));
    for (const [number, row] of built) {
      if (!wanted.has(number)) {
        row.remove();
        built.delete(number);
      }
    }
    for (let place = first; place < end; place++) {
      const number = numbers[place];
      let row = built.get(number);
      if (!row) {
        built.set(number, (row = makeRow(number)));
        space.append(row);
      }
      fill(row, number, place);
    }
  };
  element.onscroll = draw;
  return {
    element,
    show(found, only) {
      numbers = found;
      chosen = only;
      space.style.height = found.length * ROW + "px";
      element.setAttribute("aria-rowcount", found.length);
      draw();
    },
  };
}

function elapsedShort(seconds) {
  return seconds < 1 ? Math.round(seconds * 1000) + " ms" : seconds < 10 ? seconds.toFixed(1) + " s" : elapsedText(seconds);
}

function linesPane(hosts) {
  const element = make("div", "xec-log xec-lines", "", { role: "log", "aria-live": "off", "aria-label": "Lines", tabindex: 0 });
  const note = make("div", "xec-row xec-note");
  const list = make("div", "");
  element.append(note, list);
  let drawn = 0;
  let drawnOnly = null;
  const rowOf = ([number, text, err]) => {
    const row = make("div", "xec-row" + (err ? " xec-err" : ""));
    row.append(make("span", "xec-label", `[${hosts.names[number]}] `), text);
    return row;
  };
  return {
    element,
    draw(only) {
      const fresh = hosts.total - drawn;
      if (!fresh && only === drawnOnly) return;
      const atEnd = element.scrollHeight - element.scrollTop - element.clientHeight < 30;
      note.hidden = !hosts.skipped || only !== null;
      note.textContent = `… ${hosts.skipped.toLocaleString()} lines came too fast to be shown; the results have them`;
      const lines = hosts.shown(only);
      if (only === null && drawnOnly === null && fresh < lines.length) {
        list.append(...lines.slice(lines.length - fresh).map(rowOf));
        while (list.childElementCount > KEPT) list.firstChild.remove();
      } else list.replaceChildren(...lines.map(rowOf));
      drawn = hosts.total;
      drawnOnly = only;
      if (atEnd) element.scrollTop = element.scrollHeight;
    },
  };
}

function render({ model, el, hosts, uses, changes }) {
  const head = model.get("head");
  const root = make("div", "xec xec-fleet", "", { role: "group", "aria-label": head.title });
  // Keys typed here are no notebook commands; JupyterLab wants that said on the very element that has the focus.
  root.addEventListener("focusin", (event) => (event.target.dataset.lmSuppressShortcuts = "true"));
  let base = model.get("elapsed");
  let since = performance.now();
  const rebase = () => {
    base = model.get("elapsed");
    since = performance.now();
  };
  model.on("change:elapsed", rebase);
  const now = () => base + (performance.now() - since) / 1000;

  let states = null;
  let only = null;
  const top = header(model);
  const choose = (number) => {
    only = only === number ? null : number;
    draw();
  };
  const list = table(hosts, now, choose);
  const pane = linesPane(hosts);
  const chart = head.chart ? new HostChart(uses, choose) : null;
  const bar = make("progress", "", "", { max: hosts.names.length, "aria-label": "Targets that have ended" });
  const counts = make("span", "xec-counts");
  const filters = [["All", null], ["Failed", [3, 4]], ["Running", [1]]].map(([word, wanted]) => {
    const made = button(word, () => {
      states = wanted;
      draw();
    });
    made.wanted = wanted;
    return made;
  });
  const search = make("input", "", "", { type: "search", placeholder: "Find a target", "aria-label": "Find a target by its name or last line" });
  search.oninput = () => draw();
  const tools = make("span", "xec-tools");
  tools.append(...filters, search, stopButton(model, top.say));
  top.element.append(bar, counts, tools);

  const draw = () => {
    bar.value = hosts.ended;
    counts.textContent = hosts.summary;
    filters.forEach((each) => each.setAttribute("aria-pressed", String(each.wanted === states)));
    list.show(hosts.chosen(states, search.value), only);
    pane.draw(only);
    chart?.follow(only);
  };
  let waits = false;
  const later = () => {
    if (waits) return;
    waits = true;
    requestAnimationFrame(() => {
      waits = false;
      if (!pressed()) draw();
    });
  };
  const pressed = whilePressed(root, later);
  changes.add(later);
  const timer = setInterval(() => hosts.counts[1] && later(), 1000);
  root.append(top.element);
  if (head.script) root.append(make("pre", "xec-script", head.script));
  root.append(list.element, ...(chart ? [chart.element] : []), pane.element, footer(model));
  el.append(root);
  const forget = followTheme(root, () => chart?.later());
  later();
  return () => {
    forget();
    top.dispose();
    chart?.dispose();
    clearInterval(timer);
    changes.delete(later);
    model.off("change:elapsed", rebase);
  };
}

// Called once a model; all views of it share what is known.
export default () => {
  let hosts;
  let uses;
  const changes = new Set();
  return {
    initialize({ model }) {
      hosts = new Hosts(model.get("head").names);
      uses = new Uses(model.get("head").names);
      const told = () => changes.forEach((each) => each());
      const heal = () => {
        const snap = model.get("snap");
        if (!snap?.rows) return;
        hosts.update(snap.rows);
        if (!hosts.lines.length) hosts.add(snap.lines, snap.skipped, true);
        told();
      };
      const askForAll = () => model.send({ op: "uses" });
      model.on("msg:custom", (message, buffers) => {
        if (message.t === "uses") {
          const view = buffers[0];
          uses.take(message, new Uint8Array(view.buffer, view.byteOffset, view.byteLength)) || askForAll();
        }
        if (message.t !== "fleet") return;
        hosts.update(message.rows);
        hosts.add(message.lines, message.skipped);
        told();
      });
      model.on("change:snap", heal);
      heal();
      if (model.get("head").chart) askForAll(); // a page that was loaded again has missed all that was sent
    },
    render: ({ model, el }) => render({ model, el, hosts, uses, changes }),
  };
};
