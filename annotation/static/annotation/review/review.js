// One disputed candidate after the other: a key decides, the next is there at once, saving goes on behind.

import { Outbox, sayRefused, sayState } from "./outbox.js";

const settings = JSON.parse(document.getElementById("review-settings").textContent);
const part = (name) => document.querySelector(`[data-part=${name}]`);
const here = () => document.querySelector("[data-review]");
const done = []; // decided in this tab: {candidate, url, action}
let ahead = null; // {url, ready}: the page after this one, being fetched
let isBusy = false;
let reloadWhenSaved = null;

const outbox = new Outbox(settings, {
  onState: sayState,
  onRefused: (decision, message) => {
    sayRefused(decision, message, urlOf(decision.candidate));
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
}

function next() {
  const url = here().dataset.next;
  if (url) return go(url);
  show(part("the-end").content.cloneNode(true).firstElementChild);
  ahead = null;
}

// --- decisions

const mayDecide = () => !isBusy && here().dataset.candidate !== "" && here().dataset.own === "0" && here().dataset.consensus !== "";

function decide(action, more = {}) {
  if (!mayDecide()) return;
  const candidate = Number(here().dataset.candidate);
  done.push({ candidate, url: location.href, action });
  outbox.add({ candidate, action, ...more });
  next();
}

function label(number) {
  const consensus = Number(here().dataset.consensus);
  decide(number === consensus ? "confirmed" : "changed", { label: number });
}

function withdraw() {
  if (isBusy) return;
  if (here().dataset.decided === "1" && mayDecide()) {
    reloadWhenSaved = outbox.add({ candidate: Number(here().dataset.candidate), action: "withdrawn" }).id;
    return;
  }
  const last = done.pop();
  if (!last) return toast("No decision stands here, and you made none before it on this page.");
  if (last.action === "sent_back") toast("What was sent back can't be taken back: it waits for its annotator.");
  else outbox.add({ candidate: last.candidate, action: "withdrawn" });
  outbox.flush().then(() => go(last.url));
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
  next: () => !isBusy && next(),
  retry: () => outbox.flush(),
};
const KEYS = { c: "confirm", b: "sendBack", u: "withdraw", n: "next" };
const VIEW_KEYS = { o: "product", d: "depth", a: "saliency" };

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.repeat) return;
  if (document.querySelector("dialog[open]") || event.target.matches?.("input, textarea, select")) return;
  const digit = event.code?.match(/^(?:Digit|Numpad)([1-5])$/);
  const key = event.key.toLowerCase();
  if (!digit && !KEYS[key] && !VIEW_KEYS[key]) return;
  event.preventDefault();
  if (digit) label(Number(digit[1]) - 1);
  else if (KEYS[key]) doings[KEYS[key]]();
  else view(VIEW_KEYS[key]);
});

addEventListener("click", (event) => {
  const pressed = event.target.closest?.("[data-do], [data-decide], [data-view]");
  if (!pressed) return;
  if (event.ctrlKey || event.metaKey || event.shiftKey) return; // a link in a new tab
  event.preventDefault();
  if (pressed.dataset.decide) label(Number(pressed.dataset.decide));
  else if (pressed.dataset.view) view(pressed.dataset.view);
  else doings[pressed.dataset.do]();
});

addEventListener("popstate", () => go(location.href, { push: false }));

function toast(text, button, onPress) {
  part("toast").replaceChildren(text);
  if (button) {
    const made = document.createElement("button");
    made.className = "button button-small";
    made.textContent = button;
    made.addEventListener("click", onPress);
    part("toast").append(" ", made);
  } else setTimeout(() => (part("toast").hidden = true), 5000);
  part("toast").hidden = false;
}

lookAhead();
