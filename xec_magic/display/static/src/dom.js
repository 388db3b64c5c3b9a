// Making elements. Text is only ever set as text.

export function make(name, className, text = "", attributes = {}) {
  const element = document.createElement(name);
  element.className = className;
  element.textContent = text;
  for (const each in attributes) element.setAttribute(each, attributes[each]);
  return element;
}

export function button(text, pressed, title = "", className = "") {
  const element = make("button", className, text, { type: "button", title });
  element.onclick = pressed;
  return element;
}

// Tells whether a pointer is held down on an element, and calls when it no longer is. What moves meanwhile loses its click.
export function whilePressed(element, released) {
  let held = false;
  const end = () => {
    held = false;
    released();
  };
  element.addEventListener("pointerdown", (event) => {
    held = !event.button;
    if (held) for (const type of ["pointerup", "pointercancel", "contextmenu"]) addEventListener(type, end, { capture: true, once: true });
  });
  return () => held;
}
