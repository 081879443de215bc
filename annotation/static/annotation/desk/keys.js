// One key, one action, wherever the focus is.

const ACTIONS = {
  s: "skip", " ": "skip", u: "undo", z: "undo", f: "flag", d: "depth", a: "saliency", o: "product", b: "before",
  "+": "zoomIn", "=": "zoomIn", "-": "zoomOut", "_": "zoomOut", 0: "zoomReset", "?": "help",
};
const HELD = new Set(["before"]);

export function listen(handlers, { isBlocked }) {
  addEventListener("keydown", (event) => {
    const action = actionOf(event);
    if (action === null || isBlocked(action) || isTyping(event.target)) return;
    // Whoever walks through the buttons with Tab presses them with the space bar, as everywhere.
    if (event.key === " " && document.activeElement?.matches("button:focus-visible, a:focus-visible, summary:focus-visible")) return;
    event.preventDefault();
    // A key held down must not label a hundred pictures.
    if (event.repeat) return;
    run(action, true);
  });
  addEventListener("keyup", (event) => {
    const action = actionOf(event);
    if (HELD.has(action)) run(action, false);
  });
  addEventListener("blur", () => HELD.forEach((action) => run(action, false)));

  function run(action, isDown) {
    if (typeof action === "number") handlers.label(action);
    else handlers[action]?.(isDown);
  }
}

function actionOf(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return null;
  // By place, so that digits work on keyboards that want Shift for them.
  const digit = event.code?.match(/^(?:Digit|Numpad)([1-5])$/);
  if (digit) return Number(digit[1]) - 1;
  return ACTIONS[event.key.toLowerCase()] ?? null;
}

const isTyping = (target) => target instanceof Element && target.matches("input, textarea, select, [contenteditable=true]");
