// One key, one action, wherever the focus is. Which key does what is the person's own choice (dialog: own_keys.js).

const HELD = new Set(["before", "swap"]);
const ARROWS = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

export class Keys {
  #actions = new Map(); // key -> action

  constructor({ keys, usualKeys, alsoKeys, signs }) {
    this.usual = usualKeys;
    this.also = alsoKeys;
    this.signs = signs;
    this.choose(keys);
  }

  // keys: the key of every action. Chosen ones go before usual ones, and both before second ones.
  choose(keys) {
    this.keys = keys;
    this.#actions = new Map();
    const chosen = Object.keys(keys).sort((a, b) => (keys[a] === this.usual[a]) - (keys[b] === this.usual[b]));
    for (const action of chosen) if (!this.#actions.has(keys[action])) this.#actions.set(keys[action], action);
    this.second = {};
    for (const [key, action] of Object.entries(this.also)) {
      if (this.#actions.has(key) || keys[action] !== this.usual[action]) continue;
      this.#actions.set(key, action);
      this.second[action] = key;
    }
  }

  // As it is written on the page.
  sign(key) {
    return this.signs[key] ?? (key.length === 1 ? key.toUpperCase() : key);
  }

  // {action, isShifted} of a key event, else null. First what the key types; then the digit on it, for keyboards
  // that want Shift for digits; then the Latin letter on it, for those that type other letters.
  read(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || !event.key) return null;
    const key = nameOf(event);
    const digit = event.code?.match(/^(?:Digit|Numpad)(\d)$/)?.[1];
    const letter = /^[^\x00-\x7f]$/u.test(key) ? event.code?.match(/^Key([A-Z])$/)?.[1].toLowerCase() : undefined;
    for (const name of [key, digit, letter]) {
      const action = this.#actions.get(name);
      // "!" may be somebody's key: then Shift belongs to it and says nothing more.
      if (action) return { action, isShifted: event.shiftKey && /^([\p{L}\p{N}]|..+)$/u.test(name) };
    }
    return null;
  }
}

// The name under which the server keeps a key.
export const nameOf = ({ key }) => (key === " " ? "Space" : key.length === 1 ? key.toLowerCase() : key);

export function listen(keys, handlers, { isBlocked, pan }) {
  addEventListener("keydown", (event) => {
    const read = keys.read(event);
    if (read === null) return panned(event);
    if (isBlocked(read.action) || isTyping(event.target)) return;
    // Whoever walks through the buttons with Tab presses them with the space bar and Enter, as everywhere.
    const presses = event.key === " " || event.key === "Enter";
    if (presses && document.activeElement?.matches("button:focus-visible, a:focus-visible, summary:focus-visible")) return;
    event.preventDefault();
    // A key held down must not label a hundred pictures.
    if (event.repeat) return;
    run(read.action, true, read.isShifted);
  });
  addEventListener("keyup", (event) => {
    const read = keys.read(event);
    if (HELD.has(read?.action)) run(read.action, false);
  });
  addEventListener("blur", () => HELD.forEach((action) => run(action, false)));

  function run(action, isDown, isShifted) {
    const [, label] = action.match(/^label-(\d)$/) ?? [];
    if (label !== undefined) handlers.label(Number(label), isShifted);
    else handlers[action]?.(isDown);
  }

  function panned(event) {
    const by = ARROWS[event.key];
    if (!by || event.ctrlKey || event.metaKey || event.altKey || isBlocked("pan") || isTyping(event.target)) return;
    if (pan(...by)) event.preventDefault();
  }
}

const isTyping = (target) => target instanceof Element && target.matches("input, textarea, select, [contenteditable=true]");
