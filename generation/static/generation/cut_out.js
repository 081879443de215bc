// The desk of cut-outs: its keys, its grounds, and a preview of cutting anew. The server makes the cut-out itself from
// the same things: U2-Net's confidence, a threshold and a softness, a mask, and the brush's strokes as a picture.
const desk = document.querySelector("[data-cut-out]");
const MOST_PX = 1400; // longest side of the preview; the cut-out itself is made at full size

for (const away of desk.querySelectorAll(".cut-away")) {
  const url = `url("${away.dataset.mask}")`;
  const { width, height } = desk.dataset; // over the picture alone, not over the margins of its square
  away.style.width = `${(100 * Math.min(1, width / height)).toFixed(3)}%`;
  away.style.height = `${(100 * Math.min(1, height / width)).toFixed(3)}%`;
  away.style.maskImage = `${url}, linear-gradient(#000, #000)`;
  away.style.maskSize = "100% 100%";
  away.style.maskRepeat = "no-repeat";
  away.style.maskComposite = "exclude";
  away.dataset.ready = "";
}

function setGround(name) {
  desk.dataset.ground = name;
  for (const button of desk.querySelectorAll("[data-ground-of]")) button.setAttribute("aria-pressed", String(button.dataset.groundOf === name));
}
for (const button of desk.querySelectorAll("[data-ground-of]")) button.addEventListener("click", () => setGround(button.dataset.groundOf));

// Nobody has seen a cut-out in less: the second press for the one before must not accept this one.
const LEAST_LOOK_MS = 300;
const comesFromAccepting = sessionStorage.getItem("accepted") !== null;
sessionStorage.removeItem("accepted");
const shownAt = performance.now();
desk.querySelector("[data-key=a]")?.form.addEventListener("submit", (event) => {
  if (comesFromAccepting && performance.now() - shownAt < LEAST_LOOK_MS) return event.preventDefault();
  sessionStorage.setItem("accepted", "");
});

const redo = desk.querySelector("#redo");
const unsuitable = desk.querySelector("#unsuitable");
function show(details) {
  details.open = true;
  details.scrollIntoView({ block: "start" });
  details.querySelector("input:not([type=hidden]), textarea")?.focus({ preventScroll: true });
}
desk.querySelector("[data-key=r]").addEventListener("click", () => show(redo));
desk.querySelector("[data-key=u]")?.addEventListener("click", () => show(unsuitable));

const writes = "input:not([type=radio], [type=range], [type=checkbox]), textarea, select";
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches(writes)) return;
  const key = event.key.toLowerCase();
  const ground = { 1: "check", 2: "white", 3: "dark" }[key];
  if (ground) return setGround(ground);
  if (redo.open && editor?.key(key)) return event.preventDefault();
  const named = desk.querySelector(`[data-key="${CSS.escape(key)}"]`);
  if (named && !event.repeat) {
    event.preventDefault();
    named.click();
  }
});

const picture = (url) =>
  new Promise((done, failed) => {
    const image = new Image();
    image.onload = () => done(image);
    image.onerror = () => failed(new Error(`${url} can't be read`));
    image.src = url;
  });

async function pictureIn(file) {
  const url = URL.createObjectURL(file);
  try {
    return await picture(url);
  } catch {
    return null;
  } finally {
    URL.revokeObjectURL(url);
  }
}

function sheet(width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  return canvas.getContext("2d", { willReadFrequently: true });
}

class Editor {
  constructor(form) {
    this.form = form;
    const shrink = Math.min(1, MOST_PX / Math.max(desk.dataset.width, desk.dataset.height));
    this.width = Math.max(1, Math.round(desk.dataset.width * shrink));
    this.height = Math.max(1, Math.round(desk.dataset.height * shrink));
    this.box = form.querySelector(".cut-canvas");
    this.canvas = form.querySelector("canvas");
    this.canvas.width = this.width;
    this.canvas.height = this.height;
    this.view = this.canvas.getContext("2d");
    [this.photo, this.base, this.mask, this.touched, this.cut] = Array.from({ length: 5 }, () => sheet(this.width, this.height));
    this.strokes = [];
    this.size = form.querySelector("#brush-size");
    this.undoButton = form.querySelector("[data-undo]");
    this.listen();
  }

  async load() {
    const wanted = [desk.dataset.original, desk.dataset.cut, desk.dataset.confidence].map((url) => (url ? picture(url) : null));
    const [original, cut, confidence] = await Promise.all(wanted);
    this.photo.drawImage(original, 0, 0, this.width, this.height);
    this.current = cut;
    this.confidence = confidence;
    await this.rebase();
    this.canvas.dataset.ready = "";
  }

  get brush() {
    return this.form.elements.brush.value;
  }

  listen() {
    const { form, canvas } = this;
    for (const name of ["threshold", "softness"]) {
      form.elements[name]?.addEventListener("input", () => {
        form.elements.base.value = "confidence";
        this.rebase();
      });
    }
    form.elements.mask.addEventListener("change", () => {
      form.elements.base.value = "mask";
      this.rebase();
    });
    form.addEventListener("input", (event) => {
      const told = form.querySelector(`output[for="${event.target.id}"]`);
      if (told) told.value = event.target.value;
      if (event.target.name === "base") this.rebase();
      this.box.dataset.brush = this.brush;
    });
    form.querySelector("#zoom").addEventListener("change", (event) => (this.box.dataset.zoom = event.target.value));
    this.undoButton.addEventListener("click", () => this.undo());
    canvas.addEventListener("pointerdown", (event) => this.begin(event));
    canvas.addEventListener("pointermove", (event) => this.go(event));
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => (this.stroke = null));
    form.addEventListener("submit", (event) => this.send(event));
  }

  key(key) {
    const brush = { e: "erase", s: "restore", m: "move" }[key];
    if (brush) this.form.elements.brush.value = this.box.dataset.brush = brush;
    else if (key === "z") this.undo();
    else if (key === "[" || key === "]") {
      this.size.value = Number(this.size.value) + (key === "]" ? 6 : -6);
      this.size.dispatchEvent(new Event("input", { bubbles: true }));
    } else return false;
    return true;
  }

  // What the strokes are laid over. Reading a mask takes a while: what was asked for meanwhile comes instead.
  async rebase() {
    if (!this.current) return; // the pictures are still on their way
    const asked = (this.asked = Symbol("asked"));
    const { base, width, height } = this;
    const from = this.form.elements.base.value;
    const file = this.form.elements.mask.files[0];
    const mask = from === "mask" && file ? await pictureIn(file) : null; // null: the server says what is wrong with the file
    if (this.asked !== asked) return;
    const isConfidence = from === "confidence" && this.confidence;
    base.clearRect(0, 0, width, height);
    base.drawImage(isConfidence ? this.confidence : mask ?? this.current, 0, 0, width, height);
    if (isConfidence) {
      const threshold = this.form.elements.threshold.value / 100;
      const half = Math.max(this.form.elements.softness.value / 100, 0.02) / 2;
      this.alphaFrom((grey) => (grey / 255 - (threshold - half)) / (2 * half));
    } else if (mask && this.isOpaque()) this.alphaFrom((grey) => grey / 255);
    this.replay();
  }

  isOpaque() {
    const pixels = this.base.getImageData(0, 0, this.width, this.height).data;
    for (let at = 3; at < pixels.length; at += 4) if (pixels[at] < 255) return false;
    return true;
  }

  alphaFrom(share) {
    const data = this.base.getImageData(0, 0, this.width, this.height);
    const table = Uint8ClampedArray.from({ length: 256 }, (_, grey) => 255 * share(grey));
    for (let at = 0; at < data.data.length; at += 4) {
      data.data[at + 3] = table[Math.round((data.data[at] + data.data[at + 1] + data.data[at + 2]) / 3)];
    }
    this.base.putImageData(data, 0, 0);
  }

  replay() {
    const { mask, touched, width, height } = this;
    mask.globalCompositeOperation = "copy";
    mask.drawImage(this.base.canvas, 0, 0);
    touched.clearRect(0, 0, width, height);
    for (const stroke of this.strokes) {
      stroke.points.forEach((point, at) => this.dab(stroke, stroke.points[Math.max(0, at - 1)], point));
    }
    this.undoButton.disabled = !this.strokes.length;
    this.paint();
  }

  place(event) {
    const rect = this.canvas.getBoundingClientRect();
    return [((event.clientX - rect.left) * this.width) / rect.width, ((event.clientY - rect.top) * this.height) / rect.height];
  }

  begin(event) {
    if (this.brush === "move" || event.button) return;
    event.preventDefault();
    this.canvas.setPointerCapture(event.pointerId);
    // The size is of the screen: finer strokes when zoomed in.
    const size = (this.size.value * this.width) / this.canvas.getBoundingClientRect().width;
    const point = this.place(event);
    this.stroke = { brush: this.brush, size, points: [point] };
    this.strokes.push(this.stroke);
    this.undoButton.disabled = false;
    this.dab(this.stroke, point, point);
    this.paint();
  }

  go(event) {
    if (!this.stroke) return;
    for (const one of event.getCoalescedEvents?.() ?? [event]) {
      const point = this.place(one);
      this.dab(this.stroke, this.stroke.points.at(-1), point);
      this.stroke.points.push(point);
    }
    this.paint();
  }

  dab(stroke, from, to) {
    const restores = stroke.brush === "restore";
    for (const [sheet, how] of [[this.mask, restores ? "source-over" : "destination-out"], [this.touched, "source-over"]]) {
      sheet.globalCompositeOperation = how;
      sheet.strokeStyle = restores ? "#0f0" : "#f00";
      sheet.lineWidth = stroke.size;
      sheet.lineCap = sheet.lineJoin = "round";
      sheet.beginPath();
      sheet.moveTo(...from);
      sheet.lineTo(to[0] + 0.01, to[1]);
      sheet.stroke();
    }
  }

  undo() {
    this.strokes.pop();
    this.replay();
  }

  paint() {
    if (this.waits) return;
    this.waits = requestAnimationFrame(() => {
      this.waits = 0;
      const { view, cut, width, height } = this;
      cut.globalCompositeOperation = "copy";
      cut.drawImage(this.photo.canvas, 0, 0);
      cut.globalCompositeOperation = "destination-in";
      cut.drawImage(this.mask.canvas, 0, 0);
      view.clearRect(0, 0, width, height);
      // What is cut away stays faintly there, to be restored; where nothing is kept yet it is all there is to see.
      view.globalAlpha = desk.dataset.uncut ? 0.45 : 0.2;
      view.drawImage(this.photo.canvas, 0, 0);
      view.globalAlpha = 1;
      view.drawImage(cut.canvas, 0, 0);
    });
  }

  send(event) {
    if (this.sent || !this.strokes.length) return;
    event.preventDefault();
    this.touched.canvas.toBlob((blob) => {
      const files = new DataTransfer();
      files.items.add(new File([blob], "strokes.png", { type: "image/png" }));
      this.form.elements.strokes.files = files.files;
      this.sent = true;
      this.form.requestSubmit(event.submitter);
    }, "image/png");
  }
}

let editor = null;
function open() {
  const form = redo.querySelector("form");
  if (!redo.open || editor || !form) return;
  editor = new Editor(form);
  editor.load().catch(() => {
    const said = document.createElement("p");
    said.className = "note note-error";
    said.role = "alert";
    said.textContent = "The pictures could not be loaded, so the brush has nothing to draw on: load this page again.";
    editor.box.before(said);
  });
}
redo.addEventListener("toggle", open);
open();
