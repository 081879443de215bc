// The pair page: two pictures of one product, one key, the next two. Queue, outbox and store are those of the desk.
import { iAm, newId } from "../desk/api.js";
import { History } from "../desk/history.js";
import { Keys, listen } from "../desk/keys.js";
import { Outbox } from "../desk/outbox.js";
import { announce, median, showNumbers, showSaving, toast } from "../desk/panel.js";
import { Queue } from "../desk/queue.js";
import { openStore } from "../desk/store.js";
import { Watch } from "../desk/watch.js";
import * as stage from "./stage.js";

const PAIRS = { many: "pairs", one: "pair", pictures: ["left", "right", "product"] };
const KEYS = { left: "ArrowLeft", right: "ArrowRight", tie: "ArrowDown", skip: "s", undo: "u", swap: "c", help: "?" };
const ALSO = { 1: "left", 2: "right", 3: "tie", t: "tie", Space: "skip", z: "undo" };
const SAID = { left: "Left.", right: "Right.", tie: "No difference." };

const settings = JSON.parse(document.getElementById("desk-settings").textContent);
const help = document.querySelector("[data-part=help]");
const pictures = document.querySelector("[data-part=pictures]");
const watch = new Watch();

let queue, outbox, store, history;
let current = null;
let isSwapped = false; // each in the other's place, while a key is held
let chosen = 0; // since the server last counted today's
const paces = [];

function show(pair) {
  current = queue.current = pair;
  isSwapped = false;
  stage.showPair(pair);
  watch.start();
  performance.mark("painted");
}

function advance() {
  const pair = queue.next();
  if (pair) return show(pair);
  current = queue.current = null;
  stage.showPair(null);
  stage.showMessage(queue.state === "ok" ? "loading" : queue.state);
}

// --- what a person does

function choose(choice) {
  // Which one would be meant while they stand in each other's place?
  if (!current || isSwapped) return;
  const seconds = watch.seconds;
  const id = newId();
  remember("preferences", { id, pair: current.pair, choice, seconds }, id);
  paces.push(seconds);
  chosen += 1;
  stage.flash(choice);
  announce(SAID[choice]);
  done();
}

const actions = {
  left: () => choose("left"),
  right: () => choose("right"),
  tie: () => choose("tie"),
  skip() {
    if (!current) return;
    remember("skip", { pair: current.pair });
    announce("Skipped.");
    done();
  },
  undo() {
    const action = history.pop();
    if (!action) return toast("There is nothing to undo.");
    if (action.verb === "preferences") {
      chosen -= 1;
      paces.pop();
    }
    announce("Taken back. Choose again.");
    // Back on the screen once this is written down: another answer to it must be sent after it.
    outbox.undo(action).finally(() => bringBack(action.shown));
  },
  swap(isDown) {
    if (!current) return;
    isSwapped = isDown;
    stage.paintBoth(current, isDown);
  },
  help: () => (help.open ? help.close() : help.showModal()),
};

function bringBack(pair) {
  if (current) queue.putFirst(current);
  queue.putFirst(pair);
  queue.load(pair).then(() => {
    // From an empty screen the queue itself has shown it by now.
    if (current !== pair) advance();
    numbers();
  });
}

function remember(verb, body, id) {
  // Kept before anything else happens: the tab may be closed in the next moment.
  const seq = outbox.add(verb, body, current.pair);
  history.push({ verb, id, seq, shown: current });
}

function done() {
  advance();
  numbers();
}

function numbers() {
  const held = queue.tasks.length + (current ? 1 : 0);
  const isMore = queue.left >= settings.countAtMost;
  queue.pace = paces.length ? median(paces.slice(-20)) : 0;
  showNumbers({ today: queue.doneToday + chosen, left: queue.left + held, isMore, pace: queue.pace });
}

// --- wiring

function onResult({ detail: outcome }) {
  if (outcome.status === "refused" || outcome.status === "surplus") toast(outcome.message, 8000);
  if (outcome.verb === "undo" && outcome.lease_until === null) {
    toast("Others have filled this pair meanwhile: a new answer to it is kept, but does not count.", 8000);
  }
}

function onQueue() {
  numbers();
  if (!current) advance();
}

function onCounted() {
  // The server's count includes what it has; what is on its way is added.
  chosen = outbox.waiting.filter((entry) => entry.verb === "preferences").length;
}

function onLost({ detail: lost }) {
  if (!current || !lost.includes(current.pair)) return;
  toast("This pair went to somebody else while you were away. Here is the next one.");
  advance();
}

function onElsewhere({ detail: pair }) {
  queue.forget(pair);
  if (current?.pair === pair) advance();
}

function wireButtons() {
  for (const button of document.querySelectorAll("[data-do]")) {
    button.addEventListener("click", () => actions[button.dataset.do](true));
  }
  for (const button of document.querySelectorAll("[data-hold]")) {
    const hold = (isDown) => () => actions[button.dataset.hold](isDown);
    button.addEventListener("pointerdown", hold(true));
    for (const name of ["pointerup", "pointerleave", "pointercancel", "blur"]) button.addEventListener(name, hold(false));
    button.addEventListener("contextmenu", (event) => event.preventDefault());
  }
  // After a click the pictures have the focus again: the space bar must not press the last button a second time.
  document.addEventListener("click", (event) => {
    if (event.detail > 0 && event.target.closest("[data-desk] button")) pictures.focus({ preventScroll: true });
  });
  help.addEventListener("click", (event) => event.target === help && help.close());
}

async function start() {
  iAm(settings.user);
  // Their own shelf in the desk's store: the two pages of one person never send each other's answers.
  const who = `pairs-${settings.user}`;
  store = await openStore(who);
  outbox = new Outbox(store, settings.api, `adproof-${who}`, "preferences");
  history = new History(`adproof-${who}-${settings.project}`);
  queue = new Queue(settings.api, settings.project, () => outbox.tasks, PAIRS);
  outbox.addEventListener("result", onResult);
  outbox.addEventListener("elsewhere", onElsewhere);
  outbox.addEventListener("change", () =>
    showSaving({ saved: outbox.saved, waiting: outbox.waiting.length, problem: outbox.problem, isLasting: store.isLasting }),
  );
  queue.addEventListener("counted", onCounted);
  queue.addEventListener("change", onQueue);
  queue.addEventListener("lost", onLost);
  const keys = new Keys({ keys: KEYS, usualKeys: KEYS, alsoKeys: ALSO, signs: {} });
  listen(keys, actions, { isBlocked: (action) => help.open && action !== "help", pan: () => false });
  wireButtons();
  addEventListener("pagehide", () => {
    history.keep();
    queue.letGo();
  });
  // Back from the browser's memory: the leases were given back when the page was left.
  addEventListener("pageshow", (event) => event.persisted && location.reload());
  stage.showMessage("loading");
  await outbox.start();
  await queue.start();
}

if (settings.project) start();
else {
  stage.showMessage("not_ready");
  setTimeout(() => location.reload(), 15000);
}
