// Twenty-four pictures that are taken to be what people said: mark the odd ones out, confirm the rest.

import { Outbox, sayRefused, sayState } from "../review/outbox.js";

const settings = JSON.parse(document.getElementById("review-settings").textContent);
const part = (name) => document.querySelector(`[data-part=${name}]`);
const here = () => document.querySelector("[data-grid]");
const cells = () => [...here().querySelectorAll("[data-cell]")];
const LEFT_OUT = "x";
// Nobody looks through a page in less: the second press of a double click must not confirm the next one unseen.
const LEAST_LOOK_MS = 700;
let ahead = null;
let isBusy = false;
let shownAt = 0;
let last = null; // {url, candidates}: the page confirmed before this one, without what was refused

const outbox = new Outbox(settings, {
  onState: sayState,
  onRefused: (decision, message) => {
    sayRefused(decision, message, `/review/${decision.candidate}/`);
    last?.candidates.delete(decision.candidate);
  },
});

// --- marks: "" is as people said, "x" left out, else the number of another label

function mark(cell, wanted) {
  const isAsSaid = wanted === cell.dataset.consensus;
  // What changed since the snapshot counts only when it is given a label by hand, the same one too.
  cell.dataset.mark = isAsSaid && cell.dataset.changed === "0" ? "" : wanted;
  draw(cell);
  part("announce").textContent = `${cell.dataset.name}: ${wordsOf(cell)}`;
}

function draw(cell) {
  const { mark: now, consensus } = cell.dataset;
  const label = now === "" || now === LEFT_OUT ? consensus : now;
  const chip = cell.querySelector("[data-part=chip]");
  chip.dataset.label = label;
  chip.textContent = settings.labels[label];
  cell.querySelector("[data-part=left-out]").hidden = now !== LEFT_OUT;
  if (now === "" || now === LEFT_OUT) delete cell.dataset.label;
  else cell.dataset.label = label;
  cell.setAttribute("aria-pressed", String(now !== ""));
  count();
}

const wordsOf = (cell) => (cell.dataset.mark === LEFT_OUT ? "left out" : settings.labels[cell.dataset.mark || cell.dataset.consensus]);

function count() {
  const marks = cells().map((cell) => cell.dataset.mark);
  const [odd, rest] = [marks.filter((now) => now !== "" && now !== LEFT_OUT).length, marks.filter((now) => now === "").length];
  part("confirm-words").textContent = odd ? `Save ${odd} and confirm the rest (${rest})` : `Confirm the rest (${rest})`;
}

function press(cell) {
  moveTo(cell, false);
  const brush = here().querySelector("[name=brush]:checked").value;
  if (cell.dataset.mark === brush && !(cell.dataset.changed === "1")) mark(cell, cell.dataset.consensus);
  else if (cell.dataset.mark === brush) mark(cell, LEFT_OUT);
  else if (brush === cell.dataset.consensus && cell.dataset.changed === "0" && cell.dataset.mark === "") {
    toast(`“${settings.labels[brush]}” is what people said already: choose below what to mark it as.`);
  } else mark(cell, brush);
}

// --- one tab stop; arrows walk

function moveTo(cell, focus = true) {
  for (const other of cells()) other.tabIndex = other === cell ? 0 : -1;
  if (focus) cell.focus();
}

function step(from, key) {
  const all = cells();
  const at = all.indexOf(from);
  const top = (cell) => Math.round(cell.getBoundingClientRect().top);
  const columns = Math.max(1, all.filter((cell) => top(cell) === top(all[0])).length);
  const to = { ArrowLeft: at - 1, ArrowRight: at + 1, ArrowUp: at - columns, ArrowDown: at + columns, Home: 0, End: all.length - 1 }[key];
  if (all[to]) moveTo(all[to], !part("closer").open);
}

// --- pages

async function fetchPage(url) {
  const response = await fetch(url, { credentials: "same-origin" });
  if (!response.ok || response.redirected) throw new Error(`HTTP ${response.status}`);
  const page = new DOMParser().parseFromString(await response.text(), "text/html").querySelector("[data-grid]");
  if (!page) throw new Error("no such page");
  for (const picture of page.querySelectorAll("img")) new Image().src = picture.src;
  return page;
}

function lookAhead() {
  const url = here().dataset.next;
  ahead = url ? { url, ready: fetchPage(url) } : null;
  ahead?.ready.catch(() => {}); // asked for again when it is wanted
}

async function go(url) {
  isBusy = true;
  try {
    show(await (ahead?.url === url ? ahead.ready.catch(() => fetchPage(url)) : fetchPage(url)));
    history.pushState(null, "", url);
    lookAhead();
  } catch {
    toast("The next page can't be loaded: no connection. What you decided is kept.", "Try again", () => go(url));
  } finally {
    isBusy = false;
  }
}

function show(page) {
  here().replaceWith(document.adoptNode(page));
  document.title = `${page.dataset.title} · Adproof`;
  part("announce").textContent = page.dataset.title;
  part("toast").hidden = true;
  scrollTo(0, 0);
  settle();
  (cells()[0] ?? page.querySelector("h2"))?.focus({ preventScroll: true });
}

function settle() {
  shownAt = performance.now();
  if (cells().length) count();
  for (const button of document.querySelectorAll("[data-part=undo]")) button.hidden = !last;
}

function confirm() {
  if (isBusy || !cells().length || performance.now() - shownAt < LEAST_LOOK_MS) return;
  last = { url: location.href, candidates: new Set() };
  for (const { dataset } of cells()) {
    if (dataset.mark === LEFT_OUT) continue;
    const label = Number(dataset.mark || dataset.consensus);
    const action = label === Number(dataset.consensus) ? "confirmed" : "changed";
    outbox.add({ candidate: Number(dataset.candidate), action, label, seen_at: here().dataset.seenAt });
    last.candidates.add(Number(dataset.candidate));
  }
  const url = here().dataset.next;
  if (url) go(url);
  else show(part("the-end").content.cloneNode(true).firstElementChild);
}

// Withdraws what the page before this one decided, and goes back to it. Never what another reviewer decided meanwhile.
async function undo() {
  if (isBusy || !last) return;
  isBusy = true;
  await outbox.flush();
  isBusy = false;
  if (outbox.size) return toast("No connection: what waits can be undone once it is saved.");
  const { url, candidates } = last;
  last = null;
  for (const candidate of candidates) outbox.add({ candidate, action: "withdrawn" });
  await outbox.flush();
  ahead = null;
  await go(url);
  toast(`${candidates.size} decision${candidates.size === 1 ? " was" : "s were"} withdrawn: this page is as it was.`);
}

// --- one picture, large, with the product beside it

function look(cell) {
  const { look: picture, product } = cell.parentElement.querySelector("[data-look]").dataset;
  part("closer-picture").src = picture;
  part("closer-product").src = product;
  part("closer-title").textContent = cell.dataset.name;
  part("closer-words").textContent = wordsOf(cell);
  part("closer-review").href = `/review/${cell.dataset.candidate}/?show=all&decided=any`;
  moveTo(cell, false);
  if (!part("closer").open) part("closer").showModal();
}

// The browser gives focus back to where it was when the dialog opened, and says so only in a later task:
// a key that comes between the two must find the cell that was walked to.
function stopLooking() {
  part("closer").close();
  current()?.focus();
}

part("closer").addEventListener("submit", (event) => {
  event.preventDefault();
  stopLooking();
});
part("closer").addEventListener("close", () => current()?.focus()); // closed by the browser: a telephone's "back"

// --- keys and presses

const current = () => cells().find((cell) => cell.tabIndex === 0);

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.repeat && !event.key.startsWith("Arrow")) return;
  const key = event.key.toLowerCase();
  const isLooking = part("closer").open;
  if (!isLooking && (key === "c" || key === "u")) {
    event.preventDefault();
    return key === "c" ? confirm() : undo();
  }
  if (event.target.matches?.("input, textarea, select") && event.key.startsWith("Arrow")) return; // walks through the labels
  const cell = (!isLooking && document.activeElement?.closest?.("[data-cell]")) || current();
  if (!cell) return;
  const digit = event.code?.match(/^(?:Digit|Numpad)([1-5])$/);
  if (digit) mark(cell, String(Number(digit[1]) - 1));
  else if (key === "z" || (key === "escape" && isLooking)) isLooking ? stopLooking() : look(cell);
  else if (key === "x") mark(cell, cell.dataset.mark === LEFT_OUT && cell.dataset.changed === "0" ? cell.dataset.consensus : LEFT_OUT);
  else if (["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End"].includes(event.key)) step(cell, event.key);
  else return;
  event.preventDefault();
  if (part("closer").open) look(current());
});

addEventListener("click", (event) => {
  const cell = event.target.closest?.("[data-cell]");
  const closer = event.target.closest?.("[data-look]");
  const doing = event.target.closest?.("[data-do]")?.dataset.do;
  if (cell) press(cell);
  else if (closer) look(closer.parentElement.querySelector("[data-cell]"));
  else if (event.detail > 1) return; // the second half of a double click
  else if (doing === "confirm") confirm();
  else if (doing === "undo") undo();
  else if (doing === "retry") outbox.flush();
});

addEventListener("popstate", () => location.reload());

let toastTimer = 0; // of the last one only: it must not take away the next

function toast(text, button, onPress) {
  clearTimeout(toastTimer);
  part("toast").replaceChildren(text);
  if (button) {
    const made = document.createElement("button");
    made.className = "button button-small";
    made.textContent = button;
    made.addEventListener("click", onPress);
    part("toast").append(" ", made);
  } else toastTimer = setTimeout(() => (part("toast").hidden = true), 5000);
  part("toast").hidden = false;
}

settle();
lookAhead();
