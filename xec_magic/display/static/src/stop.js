// The Stop button: first press asks, second kills; by interrupt where the kernel cannot hear the page.

import { button } from "./dom.js";

const HEARD_MS = 600; // a kernel that serves messages beside a running cell answers in a tenth of this

// The notebook server's settings, where there is one: JupyterLab, Notebook 7.
function serverSettings() {
  try {
    return JSON.parse(document.getElementById("jupyter-config-data").textContent);
  } catch {
    return null;
  }
}

async function interruptKernel(id) {
  const settings = serverSettings();
  if (!settings || !id) return false;
  const headers = {};
  const xsrf = document.cookie.match(/(?:^|; *)_xsrf=([^;]*)/);
  if (xsrf) headers["X-XSRFToken"] = xsrf[1];
  if (settings.token) headers.Authorization = "token " + settings.token;
  try {
    return (await fetch(`${settings.baseUrl}api/kernels/${id}/interrupt`, { method: "POST", headers })).ok;
  } catch {
    return false;
  }
}

export function stopButton(model, say) {
  const element = button("", () => press(), "", "xec-stop");
  let presses = 0;
  const draw = () => {
    presses = Math.max(presses, model.get("heard"));
    element.textContent = presses ? "Kill now" : "Stop";
    element.title = presses ? "End it at once (SIGKILL)" : "Ask the command to end (interrupt, then terminate, then kill)";
    element.hidden = model.get("state") === "done";
  };
  const press = () => {
    const mine = ++presses;
    model.send({ op: mine > 1 ? "kill" : "stop" });
    draw();
    setTimeout(async () => {
      // Only while the cell waits for this run: an interrupt would hit the next cell otherwise.
      if (model.get("heard") >= mine || !model.get("blocking") || model.get("state") === "done") return;
      if (!(await interruptKernel(model.get("kernel_id")))) say("not heard yet: use the notebook's interrupt button");
    }, HEARD_MS);
  };
  model.on("change:heard change:state", draw);
  draw();
  return element;
}
