// Runs in <head>, before the first paint: the remembered theme, or else the system's, and the size of the pictures
// in a grid. Then wires what changes them.
(() => {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const remembered = (name) => {
    try {
      return localStorage.getItem(name);
    } catch {
      return null; // storage may be forbidden: follow the system
    }
  };
  const remember = (name, value) => {
    try {
      localStorage.setItem(name, value);
    } catch {
      // not remembered, but still shown
    }
  };
  const show = () => {
    root.dataset.theme = remembered("theme") || (system.matches ? "dark" : "light");
  };
  show();
  root.dataset.pictures = remembered("pictures") || "medium";
  system.addEventListener("change", show);

  addEventListener("click", (event) => {
    if (!event.target.closest("[data-theme-toggle]")) return;
    const theme = root.dataset.theme === "dark" ? "light" : "dark";
    remember("theme", theme);
    root.dataset.theme = theme;
    dispatchEvent(new Event("themechange"));
  });

  const pressed = () => {
    for (const button of document.querySelectorAll("[data-picture-size]"))
      button.setAttribute("aria-pressed", String(button.value === root.dataset.pictures));
  };
  addEventListener("DOMContentLoaded", pressed);
  addEventListener("click", (event) => {
    const button = event.target.closest("[data-picture-size]");
    if (!button) return;
    root.dataset.pictures = button.value;
    remember("pictures", button.value);
    pressed();
  });

  // On a narrow screen the tabs scroll: the one we are on is in sight.
  addEventListener("DOMContentLoaded", () => {
    const here = document.querySelector(".tabs [aria-current]");
    const row = here?.parentElement;
    if (row) row.scrollLeft = here.offsetLeft - row.offsetLeft + (here.offsetWidth - row.clientWidth) / 2;
  });
})();
