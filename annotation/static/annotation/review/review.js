// One disputed candidate after the other: a key decides, the next is there at once, saving goes on behind.

import { Viewer } from "../desk/viewer.js";
import { Outbox, sayRefused, sayState } from "./outbox.js";

// Nobody has seen a picture in less: the second press of a double click must not decide the next one.
const LEAST_LOOK_MS = 300;
const RENEW_MS = 60000; // an open page keeps others away from its candidate and from the next one

const settings = JSON.parse(document.getElementById("review-settings").textContent);
const part = (name) => document.querySelector(`[data-part=${name}]`);
const here = () => document.querySelector("[data-review]");
const done = []; // decided in this tab: {candidate, url, action}
let ahead = null; // {url, ready}: the page after this one, being fetched
let isBusy = false;
let shownAt = 0;
let [viewer, gone] = [null, null]; // of the page that is shown; `gone` ends its listeners
let reloadWhenSaved = null;

const outbox = new Outbox(settings, {
  onState: sayState,
  onRefused: (decision, message) => {
    sayRefused(decision, message, urlOf(decision.candidate));
    const at = done.findIndex((one) => one.id === decision.id);
    if (at >= 0) done.splice(at, 1);
    if (reloadWhenSaved === decision.id) reloadWhenSaved = null;
  },
  onSaved: (decision) => {
    if (reloadWhenSaved !== decision.id) return;
    reloadWhenSaved = null;
    go(urlOf(decision.candidate), { push: false });
  },
});

const urlOf = (candidate) => location.pathname.replace(/\d+\/$/, `${candidate}/`) + location.search;

// --- pages

async function fetchPage(url) {
  const response = await fetch(url, { credentials: "same-origin" });
  if (!response.ok || response.redirected) throw new Error(`HTTP ${response.status}`);
  const page = new DOMParser().parseFromString(await response.text(), "text/html").querySelector("[data-review]");
  if (!page) throw new Error("no such page");
  for (const button of page.querySelectorAll("[data-src]")) new Image().src = button.dataset.src;
  await new Promise((settle) => {
    const picture = new Image();
    picture.onload = picture.onerror = settle;
    picture.src = page.querySelector("[data-part=picture]")?.src ?? "";
  });
  return page;
}

function lookAhead() {
  const url = here().dataset.next;
  ahead = url ? { url, ready: fetchPage(url) } : null;
  ahead?.ready.catch(() => {}); // asked for again when it is wanted
}

async function go(url, { push = true } = {}) {
  isBusy = true;
  try {
    const page = await (ahead?.url === url ? ahead.ready.catch(() => fetchPage(url)) : fetchPage(url));
    show(page);
    if (push) history.pushState(null, "", url);
    lookAhead();
  } catch {
    toast("The next one can't be loaded: no connection. What you decided is kept.", "Try again", () => go(url, { push }));
  } finally {
    isBusy = false;
  }
}

function show(page) {
  const title = page.dataset.title;
  here().replaceWith(document.adoptNode(page));
  document.title = `${title} · Adproof`;
  part("announce").textContent = title;
  part("toast").hidden = true;
  scrollTo(0, 0);
  settle();
}

// What every page needs once it stands.
function settle() {
  shownAt = performance.now();
  gone?.abort();
  gone = new AbortController();
  const zoom = (scale) => (part("whole").hidden = scale === 1);
  viewer = part("frame") && new Viewer(part("frame"), part("zoomed"), { signal: gone.signal, zoom });
}

function next() {
  const url = here().dataset.next;
  if (url) return go(url);
  show(part("the-end").content.cloneNode(true).firstElementChild);
  ahead = null;
}

// --- decisions

const hasLooked = () => performance.now() - shownAt > LEAST_LOOK_MS;
const mayDecide = () => !isBusy && hasLooked() && here().dataset.candidate !== "" && here().dataset.own === "0" && here().dataset.consensus !== "";

function decide(action, more = {}) {
  if (!mayDecide()) return;
  const candidate = Number(here().dataset.candidate);
  // With the time of looking: what somebody answered or decided meanwhile is not overwritten unseen.
  const { id } = outbox.add({ candidate, action, seen_at: here().dataset.seenAt, ...more });
  done.push({ id, candidate, url: location.href, action });
  next();
}

function label(number) {
  const consensus = Number(here().dataset.consensus);
  decide(number === consensus ? "confirmed" : "changed", { label: number });
}

// What stands here; else the last decision of this page, but never another reviewer's: only what was saved is taken back.
async function withdraw() {
  if (isBusy) return;
  if (here().dataset.decided === "1") {
    if (mayDecide()) reloadWhenSaved = outbox.add({ candidate: Number(here().dataset.candidate), action: "withdrawn" }).id;
    return;
  }
  isBusy = true;
  await outbox.flush();
  isBusy = false;
  if (outbox.size) return toast("No connection: what waits can be undone once it is saved.");
  const last = done.pop();
  if (!last) return toast("No decision stands here, and you made none before it on this page.");
  if (last.action !== "sent_back") outbox.add({ candidate: last.candidate, action: "withdrawn" });
  await outbox.flush();
  await go(last.url);
  if (last.action === "sent_back") toast("What was sent back can't be taken back: it waits for its annotator.");
}

function openDialog() {
  if (!mayDecide()) return;
  part("send-back").showModal();
  part("send-back").querySelector("textarea").focus();
}

addEventListener("submit", (event) => {
  if (!event.target.matches("[data-send-back]")) return;
  event.preventDefault();
  const form = new FormData(event.target);
  const annotators = form.getAll("annotators").map(Number);
  const comment = form.get("comment").trim();
  const wrong = !annotators.length ? "Choose whose answers." : !comment ? "Say what to look at." : "";
  part("send-back-error").textContent = wrong;
  part("send-back-error").hidden = !wrong;
  if (wrong) return;
  part("send-back").close();
  decide("sent_back", { annotators, comment });
});

// --- views, keys, clicks

function view(name) {
  const buttons = [...here().querySelectorAll("[data-view]")];
  const shown = buttons.find((button) => button.getAttribute("aria-pressed") === "true");
  const wanted = buttons.find((button) => button.dataset.view === (shown?.dataset.view === name ? "generated" : name));
  if (!wanted) return;
  for (const button of buttons) button.setAttribute("aria-pressed", String(button === wanted));
  part("picture").src = wanted.dataset.src;
  if (part("markers")) part("markers").style.visibility = wanted.dataset.view === "generated" ? "" : "hidden";
}

const doings = {
  confirm: () => decide("confirmed", { label: Number(here().dataset.consensus) }),
  sendBack: openDialog,
  closeDialog: () => part("send-back").close(),
  withdraw,
  next: () => !isBusy && hasLooked() && next(),
  retry: () => outbox.flush(),
  help: () => part("help").showModal(),
  zoomIn: () => viewer?.zoomIn(),
  zoomOut: () => viewer?.zoomOut(),
  zoomReset: () => viewer?.zoomReset(),
};
const KEYS = {
  c: "confirm", b: "sendBack", u: "withdraw", n: "next", "?": "help",
  "+": "zoomIn", "=": "zoomIn", "-": "zoomOut", _: "zoomOut", 0: "zoomReset",
};
const PANS = { arrowleft: [1, 0], arrowright: [-1, 0], arrowup: [0, 1], arrowdown: [0, -1] };
const MAY_REPEAT = new Set(["+", "=", "-", "_", ...Object.keys(PANS)]);
const VIEW_KEYS = { o: "product", d: "depth", a: "saliency" };

addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target.matches?.("[data-send-back] textarea")) {
    event.target.form.requestSubmit();
  }
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (document.querySelector("dialog[open]") || event.target.matches?.("input, textarea, select")) return;
  const digit = event.code?.match(/^(?:Digit|Numpad)([1-5])$/);
  const key = event.key.toLowerCase();
  if (PANS[key] && viewer?.pan(...PANS[key])) event.preventDefault(); // else the page scrolls
  if (!digit && !KEYS[key] && !VIEW_KEYS[key]) return;
  event.preventDefault();
  if (event.repeat && !MAY_REPEAT.has(key)) return; // a key that is held down decides once
  if (digit) label(Number(digit[1]) - 1);
  else if (KEYS[key]) doings[KEYS[key]]();
  else view(VIEW_KEYS[key]);
});

addEventListener("click", (event) => {
  const pressed = event.target.closest?.("[data-do], [data-decide], [data-view]");
  if (!pressed) return;
  if (event.ctrlKey || event.metaKey || event.shiftKey) return; // a link in a new tab
  event.preventDefault();
  if (event.detail > 1 && !pressed.dataset.view) return; // the second half of a double click
  if (pressed.dataset.decide) label(Number(pressed.dataset.decide));
  else if (pressed.dataset.view) view(pressed.dataset.view);
  else doings[pressed.dataset.do]();
});

addEventListener("popstate", () => go(location.href, { push: false }));

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


// Asks for the page again: that keeps others away, finds the next one as it is now, and hears of what others did here.
async function renew() {
  const url = location.href;
  if (document.visibilityState !== "visible" || isBusy || !here().dataset.candidate) return;
  try {
    const fresh = await fetchPage(url);
    if (isBusy || location.href !== url || fresh.dataset.candidate !== here().dataset.candidate) return;
    here().dataset.next = fresh.dataset.next;
    if (fresh.dataset.version !== here().dataset.version) {
      toast("Somebody answered or decided about this one.", "Look again", () => go(url, { push: false }));
    }
    lookAhead();
  } catch {
    // No connection just now: the next time will do.
  }
}

setInterval(renew, RENEW_MS);

settle();
lookAhead();
