// Copy the whole output, as text, to the clipboard.

export function copyButton(questions, say) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Copy";
  button.title = "Copy the whole output";
  button.onclick = async () => {
    button.disabled = true;
    const reply = await questions.ask("copy");
    button.disabled = false;
    if (reply.problem) return say(reply.problem);
    const text = new TextDecoder().decode(reply.data);
    say((await toClipboard(text)) ? "copied" : "the browser refused the clipboard");
  };
  return button;
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
