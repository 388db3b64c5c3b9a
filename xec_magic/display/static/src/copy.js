// Copy the whole output, as text, to the clipboard.

import { button } from "./dom.js";

export function copyButton(questions, say) {
  const copy = async () => {
    element.disabled = true;
    const reply = await questions.ask("copy");
    element.disabled = false;
    if (reply.problem) return say(reply.problem);
    const text = new TextDecoder().decode(reply.data);
    say((await toClipboard(text)) ? "copied" : "the browser refused the clipboard");
  };
  const element = button("Copy", copy, "Copy the whole output");
  return element;
}

async function toClipboard(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // No secure page, or no permission: the old way, from a text field that nobody sees.
    const field = document.createElement("textarea");
    field.value = text;
    field.style.cssText = "position:fixed;opacity:0";
    document.body.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    return done;
  }
}
