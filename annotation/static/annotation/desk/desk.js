// The labelling desk: puts queue, outbox, viewer and keys together.
import { iAm, newId } from "./api.js";
import { History } from "./history.js";
import { listen } from "./keys.js";
import { Outbox } from "./outbox.js";
import * as panel from "./panel.js";
import { asPlaced, decode } from "./pictures.js";
import { Queue } from "./queue.js";
import { openStore } from "./store.js";
import { Viewer } from "./viewer.js";

const settings = JSON.parse(document.getElementById("desk-settings").textContent);
const help = document.querySelector("[data-part=help]");
const frame = document.querySelector("[data-part=frame]");
const viewer = new Viewer(frame, document.querySelector("[data-part=canvas]"), panel.showZoom);

let queue, outbox, store, history;
let current = null;
let view = "generated";
let watch = null; // how long the picture has been looked at
let labelled = 0; // since the server last counted today's
const paces = [];
const wanted = new Set(); // views this person uses: these are fetched ahead

// --- the clock of one picture: stands still while the page is not looked at

const startWatch = () => (watch = { spent: 0, since: document.hidden ? null : performance.now() });
const pauseWatch = () => {
  if (watch?.since == null) return;
  watch.spent += performance.now() - watch.since;
  watch.since = null;
};
const seconds = () => Math.round(watch.spent + (watch.since == null ? 0 : performance.now() - watch.since)) / 1000;
document.addEventListener("visibilitychange", () => {
  if (document.hidden) pauseWatch();
  else if (watch) watch.since ??= performance.now();
});

// --- which picture is on the screen

function show(task) {
  current = queue.current = task;
  panel.clearMessage();
  setView("generated");
  viewer.zoomReset();
  panel.showTask(task);
  startWatch();
  for (const name of wanted) extra(task, name);
  performance.mark("painted");
}

function advance() {
  const task = queue.next();
  if (task) return show(task);
  current = queue.current = null;
  panel.showTask(null);
  panel.showMessage(queue.state === "ok" ? "loading" : queue.state);
}

function setView(name) {
  view = name;
  panel.showView(name);
  if (!current) return;
  const bitmap = name === "generated" ? current.bitmaps.generated : extraNow(name);
  if (bitmap) viewer.show(bitmap);
}

// Depth and saliency are fetched when asked for, and ahead once somebody asks for them.
function extraNow(name) {
  const task = current;
  if (name === "product") return task.bitmaps.product;
  if (name === "before") {
    task.placed ??= asPlaced(task.bitmaps.product, task.image_scale, task.bitmaps.generated.width);
    return task.placed;
  }
  if (!task.pictures[name]) {
    panel.toast(`This picture has no ${name} map yet.`);
    setView("generated");
    return null;
  }
  wanted.add(name);
  extra(task, name).then(() => view === name && current === task && viewer.show(task.extra[name].bitmap));
  return task.extra[name].bitmap;
}

function extra(task, name) {
  task.extra ??= {};
  task.extra[name] ??= {};
  const slot = task.extra[name];
  slot.loading ??= task.pictures[name]
    ? decode(task.pictures[name]).then(
        (bitmap) => (slot.bitmap = bitmap),
        () => (slot.loading = null),
      )
    : Promise.resolve();
  return slot.loading;
}

const toggle = (name) => current && setView(view === name ? "generated" : name);

// --- what a person does

const actions = {
  label(label) {
    if (!current) return;
    const spent = seconds();
    const id = newId();
    const shownView = view === "before" ? "product" : view;
    const body = { id, task: current.task, label, seconds: spent, view: shownView };
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
    panel.toast(`“${title}” is flagged as unsuitable. U takes it back.`);
    panel.announce("Product flagged as unsuitable.");
    done();
  },
  undo() {
    const action = history.pop();
    if (!action) return panel.toast("There is nothing to undo.");
    outbox.undo(action);
    if (action.verb === "annotations") {
      labelled -= 1;
      paces.pop();
    }
    if (current) queue.putFirst(current);
    queue.putFirst(action.shown);
    panel.announce("Taken back. Label it again.");
    queue.load(queue.tasks[0]).then(() => {
      advance();
      numbers();
    });
  },
  depth: () => toggle("depth"),
  saliency: () => toggle("saliency"),
  product: () => toggle("product"),
  generated: () => setView("generated"),
  before: (isDown) => (isDown || view === "before") && setView(isDown ? "before" : "generated"),
  zoomIn: () => viewer.zoomIn(),
  zoomOut: () => viewer.zoomOut(),
  zoomReset: () => viewer.zoomReset(),
  help: () => (help.open ? help.close() : help.showModal()),
};

function remember(verb, body, id) {
  history.push({ verb, id, seq: outbox.add(verb, body, current.task), shown: current });
}

function done() {
  advance();
  numbers();
}

function numbers() {
  const held = queue.tasks.length + (current ? 1 : 0);
  panel.showNumbers({
    today: queue.doneToday + labelled,
    left: queue.left + held,
    isMore: queue.left >= settings.countAtMost,
    paces,
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
}

function onLost({ detail: lost }) {
  if (!current || !lost.includes(current.task)) return;
  panel.toast("This picture went to somebody else while you were away. Here is the next one.");
  advance();
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

async function start() {
  iAm(settings.user);
  const who = `adproof-desk-${settings.user}`;
  store = await openStore(settings.user);
  outbox = new Outbox(store, settings.api, who);
  history = new History(`${who}-${settings.project}`);
  queue = new Queue(settings.api, settings.project, (task) => outbox.holds(task));
  outbox.addEventListener("result", onResult);
  outbox.addEventListener("change", () =>
    panel.showSaving({ saved: outbox.saved, waiting: outbox.waiting.length, problem: outbox.problem, isLasting: store.isLasting }),
  );
  queue.addEventListener("counted", onCounted);
  queue.addEventListener("change", onQueue);
  queue.addEventListener("lost", onLost);
  listen(actions, { isBlocked: (action) => help.open && action !== "help" });
  wireButtons();
  addEventListener("pagehide", () => queue.letGo());
  // Back from the browser's memory: the leases were given back when the page was left.
  addEventListener("pageshow", (event) => event.persisted && location.reload());
  panel.showMessage("loading");
  await outbox.start();
  await queue.start();
}

if (settings.project) start();
else {
  panel.showMessage("not_ready");
  setTimeout(() => location.reload(), 4000);
}
