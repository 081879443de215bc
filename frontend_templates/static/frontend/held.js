// What comes by itself every few seconds waits for its next time while the pointer or the space bar is down: a button
// that is replaced between press and release is not pressed.
const HELD_MS = 3000; // longer is no press: its end was lost
let since = -Infinity;

addEventListener("pointerdown", () => (since = performance.now()), true);
addEventListener("keydown", (event) => event.key === " " && !event.repeat && (since = performance.now()), true);
for (const name of ["pointerup", "pointercancel", "keyup"]) addEventListener(name, () => (since = -Infinity), true);

addEventListener("htmx:beforeOnLoad", (event) => {
  const comesByItself = event.target.getAttribute("hx-trigger")?.includes("every ");
  if (comesByItself && performance.now() - since < HELD_MS) event.preventDefault();
});
