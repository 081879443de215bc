// The words around the picture.

let shown = null;
const afterPaint = (work) => requestAnimationFrame(() => setTimeout(work, 0));
const set = (element, name, value) => element.getAttribute(name) === value || element.setAttribute(name, value);
const inDigits = new Intl.NumberFormat();
const $ = (name) => document.querySelector(`[data-part="${name}"]`);

// Changes what differs and asks for no layout: it runs between a key and the frame that answers it.
export function showTask(task) {
  document.querySelector("[data-desk]").classList.toggle("has-task", Boolean(task));
  for (const button of document.querySelectorAll("[data-label-button], [data-needs-task]")) {
    set(button, "aria-disabled", String(!task));
  }
  shown = task;
  if (!task) return;
  $("title").textContent = task.product.title;
  $("description").textContent = task.product.description;
  $("prompt-box").hidden = task.prompt === null;
  $("prompt").textContent = task.prompt ?? "";
  showVerdict(task.verdict);
  // The big picture first: shrinking the other one well takes some milliseconds.
  afterPaint(() => shown === task && paintCutOut($("cutout"), task.bitmaps.product));
  $("canvas").setAttribute("aria-label", `Generated picture of: ${task.product.title}`);
}

// RFNet's five probabilities, where the project lets people see them; null: it has none for this picture.
function showVerdict(verdict) {
  const desk = document.querySelector("[data-desk]");
  if (verdict) desk.classList.add("assists");
  desk.classList.toggle("has-verdict", Boolean(verdict));
  for (const box of document.querySelectorAll("[data-verdict]")) {
    if (!verdict) break;
    const share = Math.round(verdict.probs[box.dataset.verdict] * 100);
    box.querySelector("[data-share]").textContent = `${share}%`;
    box.querySelector("i").style.width = `${share}%`;
  }
}

// The keys in force, wherever the page names one.
export function showKeys(keys) {
  for (const kbd of document.querySelectorAll("kbd[data-key]")) kbd.textContent = keys.sign(keys.keys[kbd.dataset.key]);
  for (const kbd of document.querySelectorAll("kbd[data-second]")) {
    const second = keys.second[kbd.dataset.second];
    kbd.hidden = !second;
    if (second) kbd.textContent = keys.sign(second);
  }
  for (const button of document.querySelectorAll("[data-shortcut]")) {
    const action = button.dataset.shortcut;
    const all = [keys.keys[action], keys.second[action]].filter(Boolean);
    button.setAttribute("aria-keyshortcuts", all.map((key) => (key === "+" ? "Plus" : keys.sign(key))).join(" "));
  }
}

// Where the line between two compared pictures stands.
export function showLine(left) {
  $("line").hidden = left === null;
  if (left !== null) $("line").style.translate = `${left}px 0`;
}

function paintCutOut(canvas, bitmap) {
  const side = canvas.width;
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, side, side);
  context.imageSmoothingQuality = "high";
  const factor = (side * 0.9) / Math.max(bitmap.width, bitmap.height);
  const [width, height] = [bitmap.width * factor, bitmap.height * factor];
  context.drawImage(bitmap, (side - width) / 2, (side - height) / 2, width, height);
}

export function showView(view) {
  for (const button of document.querySelectorAll("[data-view]")) {
    set(button, "aria-pressed", String(button.dataset.view === view));
  }
}

export function showZoom(scale) {
  $("zoom").textContent = `${Math.round(scale * 100)}%`;
}

export function showSaving({ saved, waiting, problem, isLasting }) {
  const box = $("saving");
  const parts = [`${saved} saved`];
  if (waiting && problem === "offline") parts.push(`${waiting} waiting for the connection`);
  else if (waiting && problem === "login") parts.push(`${waiting} waiting for you to log in`);
  else if (waiting) parts.push(`${waiting} sending`);
  box.textContent = parts.join(", ");
  box.dataset.state = waiting ? problem || "sending" : "saved";
  $("login").hidden = problem !== "login";
  $("unsafe").hidden = isLasting || !waiting;
}

export function showNumbers({ today, left, isMore, pace }) {
  $("today").textContent = inDigits.format(today);
  $("left").textContent = isMore ? `${left}+` : String(left);
  $("pace").textContent = pace ? `${pace.toFixed(1)} s` : "–";
}

export const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];

const MESSAGES = {
  loading: ["One moment", "Your pictures are on their way."],
  not_ready: ["Your first pictures are being made", "They appear here by themselves as soon as the first one is drawn."],
  empty: ["All done for now", "You have judged every picture in the queue. New ones appear here by themselves."],
  paused: ["This project is paused", "A manager has paused it. It goes on here by itself."],
  offline: ["No connection", "What you have labelled is kept. The desk goes on by itself when the server answers again."],
  login: ["You are logged out", "Or somebody else has logged in here. What you have labelled is kept on this computer and is sent after you have logged in again."],
};

export function showMessage(state) {
  const box = $("message");
  const text = MESSAGES[state];
  box.hidden = !text;
  if (!text || box.dataset.state === state) return;
  box.dataset.state = state;
  $("message-title").textContent = text[0];
  $("message-text").textContent = text[1];
}

export function clearMessage() {
  $("message").hidden = true;
  $("message").dataset.state = "";
}

let toastTimer = 0;

export function toast(text, ms = 3500) {
  const box = $("toast");
  box.textContent = text;
  box.hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => (box.hidden = true), ms);
}

// Read out to those who do not see the page; never in the way of those who do.
export function announce(text) {
  $("announce").textContent = text;
}

export function flash(label) {
  const { classList } = document.querySelector(`[data-label-button="${label}"]`);
  // Two names for the same animation: the other one starts it again.
  const again = classList.contains("is-given");
  classList.toggle("is-given", !again);
  classList.toggle("is-given-again", again);
}
