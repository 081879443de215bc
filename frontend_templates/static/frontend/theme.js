// Runs in <head>, before the first paint: the remembered theme, or else the system's. Then wires the toggle.
(() => {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const remembered = () => {
    try {
      return localStorage.getItem("theme");
    } catch {
      return null; // storage may be forbidden: follow the system
    }
  };
  const show = () => {
    root.dataset.theme = remembered() || (system.matches ? "dark" : "light");
  };
  show();
  system.addEventListener("change", show);

  addEventListener("click", (event) => {
    if (!event.target.closest("[data-theme-toggle]")) return;
    const theme = root.dataset.theme === "dark" ? "light" : "dark";
    try {
      localStorage.setItem("theme", theme);
    } catch {
      // not remembered, but still shown
    }
    root.dataset.theme = theme;
    dispatchEvent(new Event("themechange"));
  });

  // On a narrow screen the tabs scroll: the one we are on is in sight.
  addEventListener("DOMContentLoaded", () => {
    const here = document.querySelector(".tabs [aria-current]");
    const row = here?.parentElement;
    if (row) row.scrollLeft = here.offsetLeft - row.offsetLeft + (here.offsetWidth - row.clientWidth) / 2;
  });
})();
