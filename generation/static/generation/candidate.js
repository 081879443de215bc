// One candidate: its four pictures in one large view, with zoom and comparison; keys to the next one.

import { Viewer } from "../annotation/desk/viewer.js";

const box = document.querySelector("[data-viewer]");
const line = box.querySelector(".viewer-line");
const [canvas, over] = box.querySelectorAll("canvas");
// In the order of their keys: the four pictures, then two of them over another.
const overLast = (one, other) => (one.dataset.view === "compare") - (other.dataset.view === "compare");
const buttons = [...document.querySelectorAll("[data-view]")].sort(overLast);
const says = document.querySelector("[data-viewer-says]");
const help = [...says.childNodes];
const kept = new Map();

const viewer = new Viewer(box, canvas, { over, moved: () => requestAnimationFrame(drawLine) });

function drawLine() {
  line.hidden = viewer.wipe === null;
  if (!line.hidden) line.style.left = `${viewer.pointOf([viewer.wipe, 0])[0]}px`;
}

function bitmap(src) {
  if (!kept.has(src)) {
    kept.set(src, load(src));
    kept.get(src).catch(() => kept.delete(src)); // asked for again at the next press
  }
  return kept.get(src);
}

async function load(src) {
  const answer = await fetch(src);
  if (!answer.ok) throw new Error(`${answer.status}`);
  return createImageBitmap(await answer.blob());
}

async function show(button) {
  for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
  const isWanted = () => button.getAttribute("aria-pressed") === "true"; // no other was pressed while this one was fetched
  try {
    const [picture, generated] = await Promise.all([bitmap(button.dataset.src), bitmap(box.dataset.generated)]);
    if (!isWanted()) return;
    if (button.dataset.view === "compare") viewer.compare(generated, picture);
    else viewer.show(picture);
    box.querySelector("img")?.remove();
    if (says.firstChild !== help[0]) says.replaceChildren(...help); // a status: put there anew it would be read out each time
  } catch {
    if (isWanted()) says.textContent = "This picture could not be loaded: try again.";
  }
}

for (const button of buttons) button.addEventListener("click", () => show(button));
document.querySelector("[data-zoom-in]").addEventListener("click", () => viewer.zoomIn());
document.querySelector("[data-zoom-out]").addEventListener("click", () => viewer.zoomOut());

document.querySelector("[data-copy]")?.addEventListener("click", async (event) => {
  const text = document.querySelector("[data-settings]").textContent;
  try {
    await navigator.clipboard.writeText(text);
    event.target.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(document.querySelector("[data-settings]"));
    event.target.textContent = "Press Ctrl+C";
  }
});

document.addEventListener("keydown", (event) => {
  if (event.target.closest("input, select, textarea") || event.altKey || event.ctrlKey || event.metaKey) return;
  const link = { j: "[rel=next]", k: "[rel=prev]", ArrowRight: "[rel=next]", ArrowLeft: "[rel=prev]" }[event.key];
  if (link) document.querySelector(`main ${link}`)?.click();
  else if (/^[1-9]$/.test(event.key) && buttons[event.key - 1]) show(buttons[event.key - 1]);
  else if (event.key === "+") viewer.zoomIn();
  else if (event.key === "-") viewer.zoomOut();
  else return;
  event.preventDefault();
});

if (buttons.length) show(buttons[0]);
