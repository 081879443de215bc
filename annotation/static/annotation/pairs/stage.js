// The two pictures, the product, and what stands in their place when there is no pair.

const $ = (name) => document.querySelector(`[data-part="${name}"]`);

const MESSAGES = {
  loading: ["One moment", "Your pictures are on their way."],
  not_ready: ["There are no pairs yet", "They appear here by themselves as soon as a manager has made some."],
  empty: ["All done for now", "You have judged every pair in the queue. New ones appear here by themselves."],
  paused: ["This project is paused", "A manager has paused it. It goes on here by itself."],
  offline: ["No connection", "What you have chosen is kept. The page goes on by itself when the server answers again."],
  login: ["You are logged out", "Or somebody else has logged in here. What you have chosen is kept on this computer and is sent after you have logged in again."],
};

export function showPair(pair) {
  document.querySelector("[data-desk]").classList.toggle("has-task", Boolean(pair));
  for (const button of document.querySelectorAll("[data-needs-task]")) {
    button.setAttribute("aria-disabled", pair ? "false" : "true");
  }
  if (!pair) return;
  $("message").hidden = true;
  $("message").dataset.state = "";
  $("title").textContent = pair.product.title;
  $("description").textContent = pair.product.description;
  paintCutOut($("cutout"), pair.bitmaps.product);
  paintBoth(pair, false);
}

export function paintBoth(pair, isSwapped) {
  paint($("left-picture"), isSwapped ? pair.bitmaps.right : pair.bitmaps.left);
  paint($("right-picture"), isSwapped ? pair.bitmaps.left : pair.bitmaps.right);
  document.querySelector("[data-desk]").classList.toggle("is-swapped", isSwapped);
}

function paint(canvas, bitmap) {
  if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
    canvas.width = bitmap.width;
    canvas.height = bitmap.height;
  }
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
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

export function showMessage(state) {
  const box = $("message");
  const text = MESSAGES[state];
  box.hidden = !text;
  if (!text || box.dataset.state === state) return;
  box.dataset.state = state;
  $("message-title").textContent = text[0];
  $("message-text").textContent = text[1];
}

// A short glow on what was chosen; the next pair is there already.
export function flash(choice) {
  const button = document.querySelector(`[data-choice="${choice}"]`);
  button.classList.remove("is-given");
  void button.offsetWidth; // start the animation again
  button.classList.add("is-given");
}
