// Making elements. Text is only ever set as text.

export function make(name, className, text = "") {
  const element = document.createElement(name);
  element.className = className;
  element.textContent = text;
  return element;
}

export function button(text, pressed, title = "") {
  const element = make("button", "", text);
  element.type = "button";
  element.title = title;
  element.onclick = pressed;
  return element;
}
