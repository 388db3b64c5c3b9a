// Dark or light, as the page says, else as the system says; follows a change.

export function followTheme(root, changed) {
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
