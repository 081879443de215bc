// The labelling desk: puts queue, outbox, viewer and keys together.
import { iAm, newId } from "./api.js";
import { Details } from "./details.js";
import { keepFigures } from "./figures.js";
import { History } from "./history.js";
import { Keys, listen } from "./keys.js";
import { Guidelines, showComment } from "./notices.js";
import { Outbox } from "./outbox.js";
import * as panel from "./panel.js";
import { asPlaced, decode, fetchPicture } from "./pictures.js";
import { Queue } from "./queue.js";
import { openStore } from "./store.js";
import { Viewer } from "./viewer.js";
import { Watch } from "./watch.js";

const settings = JSON.parse(document.getElementById("desk-settings").textContent);
const part = (name) => document.querySelector(`[data-part="${name}"]`);
const [help, keysDialog, frame] = [part("help"), part("own-keys"), part("frame")];
const keys = new Keys(settings);
const viewer = new Viewer(frame, part("canvas"), { over: part("over"), zoom: panel.showZoom, moved, tap });
const details = new Details(viewer, settings.labels, panel.announce);

let queue, outbox, history, guidelines, ownKeys;
let current = null;
let view = "generated";
const watch = new Watch(); // how long the picture has been looked at
let labelled = 0; // since the server last counted today's
const paces = [];
let paceBefore = 0; // of earlier days, until this page knows better
const wanted = new Set(); // views this person uses: these are fetched ahead

// --- which picture is on the screen

function show(task) {
  current = queue.current = task;
  task.guidelines = queue.guidelinesVersion; // what is in force now is what this answer was given under
  panel.clearMessage();
  details.restore(task.marked);
  setView("generated");
  viewer.zoomReset();
  panel.showTask(task);
  showComment(task.comment);
  watch.start();
  for (const name of wanted) extra(task, name);
  performance.clearMarks("painted");
  performance.mark("painted");
}

function advance() {
  const task = queue.next();
  if (task) return show(task);
  current = queue.current = null;
  panel.showTask(null);
  showComment(null);
  details.restore();
  panel.showMessage(queue.state === "ok" ? "loading" : queue.state);
}

function setView(name) {
  view = name;
  panel.showView(name);
  details.isOnPicture = name !== "product";
  if (!current) return;
  if (name === "compare") return viewer.compare(current.bitmaps.generated, placed());
  const bitmap = name === "generated" ? current.bitmaps.generated : extraNow(name);
  if (bitmap) viewer.show(bitmap);
}

const placed = () =>
  (current.placed ??= asPlaced(current.bitmaps.product, current.image_scale, current.bitmaps.generated.width));

function moved() {
  details?.follow();
  panel.showLine(viewer?.wipe == null ? null : viewer.pointOf([viewer.wipe, 0])[0]);
}

function tap(place, isDouble) {
  if (current && view !== "product") details.tap(place, isDouble);
}

// Depth and saliency are fetched when asked for, and ahead once somebody asks for them.
function extraNow(name) {
  const task = current;
  if (name === "product") return task.bitmaps.product;
  if (name === "before") return placed();
  if (!task.pictures[name]) {
    panel.toast(`This picture has no ${name} map yet.`);
    setView("generated");
    return null;
  }
  wanted.add(name);
  extra(task, name).then(() => {
    if (view !== name || current !== task) return;
    if (task.extra[name].bitmap) return viewer.show(task.extra[name].bitmap);
    panel.toast(`The ${name} map can't be loaded: no connection.`);
    setView("generated");
  });
  return task.extra[name].bitmap;
}

function extra(task, name) {
  task.extra ??= {};
  task.extra[name] ??= {};
  const slot = task.extra[name];
  slot.loading ??= task.pictures[name]
    ? fetchPicture(task.pictures[name]).then(decode).then(
        (bitmap) => (slot.bitmap = bitmap),
        () => (slot.loading = null),
      )
    : Promise.resolve();
  return slot.loading;
}

const toggle = (name) => current && setView(view === name ? "generated" : name);

// --- what a person does

const SAID = { before: "product", compare: "generated" }; // the API knows four views

const actions = {
  // isShifted: it is another defect, beside the label that comes.
  label(label, isShifted) {
    if (!current) return;
    if (isShifted && details.asked) return details.toggle(label);
    const spent = watch.seconds;
    const id = newId();
    const body = { id, task: current.task, label, seconds: spent, view: SAID[view] ?? view };
    body.details = details.given(label);
    if (current.verdict) body.verdict = current.verdict.checkpoint;
    if (current.guidelines) body.guidelines = current.guidelines;
    remember("annotations", body, id);
    paces.push(spent);
    labelled += 1;
    panel.flash(label);
    panel.announce(`${settings.labels[label]}.`);
    done();
  },
  skip() {
    if (!current) return;
    remember("skip", { task: current.task });
    panel.announce("Skipped.");
    done();
  },
  flag() {
    if (!current) return;
    const { title, id } = current.product;
    remember("flag", { task: current.task });
    queue.dropProduct(id);
    panel.toast(`“${title}” is flagged as unsuitable. ${keys.sign(keys.keys.undo)} takes it back.`);
    panel.announce("Product flagged as unsuitable.");
    done();
  },
  undo() {
    const action = history.pop();
    if (!action) return panel.toast("There is nothing to undo.");
    if (action.verb === "annotations") {
      labelled -= 1;
      paces.pop();
    }
    panel.announce("Taken back. Label it again.");
    // Back on the screen once this is written down: another label for it must be sent after it.
    outbox.undo(action).finally(() => bringBack(action.shown));
  },
  depth: () => toggle("depth"),
  saliency: () => toggle("saliency"),
  product: () => toggle("product"),
  generated: () => setView("generated"),
  before: (isDown) => (isDown || view === "before") && setView(isDown ? "before" : "generated"),
  compare: () => toggle("compare"),
  zoomIn: () => viewer.zoomIn(),
  zoomOut: () => viewer.zoomOut(),
  zoomReset: () => viewer.zoomReset(),
  help: () => (help.open ? help.close() : help.showModal()),
  async keys() {
    const { OwnKeys } = await import("./own_keys.js");
    ownKeys ??= new OwnKeys(keysDialog, keys, settings, () => panel.showKeys(keys));
    help.close();
    ownKeys.open();
  },
};

// Kept before anything else happens: the tab may be closed in the next moment.
function remember(verb, body, id) {
  const seq = outbox.add(verb, body, current.task);
  history.push({ verb, id, seq, shown: { ...current, marked: details.given() } });
}

function bringBack(task) {
  if (current) queue.putFirst({ ...current, marked: details.given() });
  queue.putFirst(task);
  queue.load(task).then(() => {
    // From an empty screen the queue itself has shown it by now.
    if (current !== task) advance();
    numbers();
  });
}

function done() {
  advance();
  numbers();
}

function numbers() {
  const held = queue.tasks.length + (current ? 1 : 0);
  queue.pace = paces.length ? panel.median(paces.slice(-20)) : paceBefore;
  panel.showNumbers({
    today: queue.doneToday + labelled,
    left: queue.left + held,
    isMore: queue.left >= settings.countAtMost,
    pace: queue.pace,
  });
}

// --- wiring

function onResult({ detail: outcome }) {
  if (outcome.status === "refused" || outcome.status === "surplus") panel.toast(outcome.message, 8000);
  if (outcome.verb === "undo" && outcome.lease_until === null) {
    panel.toast("Others have filled this task meanwhile: a new answer to it is kept, but does not count.", 8000);
  }
}

function onQueue() {
  numbers();
  if (!current) advance();
}

function onCounted() {
  // The server's count includes what it has; what is on its way is added.
  labelled = outbox.waiting.filter((entry) => entry.verb === "annotations").length;
  details.isAsked = queue.asksDetails;
  guidelines.inForce(queue.guidelinesVersion);
}

function onLost({ detail: lost }) {
  if (!current || !lost.includes(current.task)) return;
  panel.toast("This picture went to somebody else while you were away. Here is the next one.");
  advance();
}

function onElsewhere({ detail: task }) {
  queue.forget(task);
  if (current?.task === task) advance();
}

function wireButtons() {
  for (const button of document.querySelectorAll("[data-label-button]")) {
    button.addEventListener("click", () => actions.label(Number(button.dataset.labelButton)));
  }
  for (const button of document.querySelectorAll("[data-do]")) {
    button.addEventListener("click", () => actions[button.dataset.do](true));
  }
  for (const button of document.querySelectorAll("[data-hold]")) {
    const hold = (isDown) => () => actions[button.dataset.hold](isDown);
    button.addEventListener("pointerdown", hold(true));
    for (const name of ["pointerup", "pointerleave", "pointercancel", "blur"]) button.addEventListener(name, hold(false));
    button.addEventListener("contextmenu", (event) => event.preventDefault());
  }
  // After a click the picture has the focus again: the space bar must not press the last button a second time.
  document.addEventListener("click", (event) => {
    if (event.detail > 0 && event.target.closest("[data-desk] button")) frame.focus({ preventScroll: true });
  });
  help.addEventListener("click", (event) => event.target === help && help.close());
}

const isDialogOpen = () => help.open || keysDialog.open;

async function start() {
  iAm(settings.user);
  const who = `adproof-desk-${settings.user}`;
  history = new History(`${who}-${settings.project}`);
  guidelines = new Guidelines(settings.user, settings.project);
  panel.showMessage("loading");
  panel.showKeys(keys);
  details.isAsked = settings.asksDetails;
  // The first tasks are asked for while the browser opens its store.
  queue = new Queue(settings.api, settings.project, () => outbox?.tasks ?? []);
  queue.plenty = settings.countAtMost;
  queue.ready = openOutbox(who);
  queue.addEventListener("counted", onCounted);
  queue.addEventListener("change", onQueue);
  queue.addEventListener("lost", onLost);
  addEventListener("pagehide", () => {
    history.keep();
    queue.letGo();
  });
  // Back from the browser's memory: the leases were given back when the page was left.
  addEventListener("pageshow", (event) => event.persisted && location.reload());
  const filled = queue.start();
  await queue.ready;
  const isBlocked = (action) => isDialogOpen() && !(action === "help" && help.open);
  listen(keys, actions, { isBlocked, pan: (dx, dy) => current !== null && viewer.pan(dx, dy) });
  wireButtons();
  await filled;
  keepFigures(settings.api, (pace) => {
    paceBefore = pace;
    numbers();
  });
}

async function openOutbox(who) {
  outbox = new Outbox(await openStore(settings.user), settings.api, who);
  outbox.addEventListener("result", onResult);
  outbox.addEventListener("elsewhere", onElsewhere);
  outbox.addEventListener("change", () =>
    panel.showSaving({ saved: outbox.saved, waiting: outbox.waiting.length, problem: outbox.problem, isLasting: outbox.store.isLasting }),
  );
  await outbox.start();
}

if (settings.project) start();
else {
  panel.showMessage("not_ready");
  setTimeout(() => location.reload(), 4000);
}
