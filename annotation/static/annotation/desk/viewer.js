// The big picture: paints a decoded bitmap at once; zoom with keys, wheel, pinch; pan by dragging and with arrow keys.
// A second picture can lie over it, cut off at a line that the pointer moves: that compares them in place.

const STEP = 1.35;
const [LEAST, MOST] = [1, 8];
const PAN_PX = 60;
const STILL_PX = 6; // a finger that moves less has tapped

export class Viewer {
  #scale = 1;
  #x = 0;
  #y = 0;
  #pointers = new Map();
  #press = null; // {x, y}: one pointer that has not moved yet
  #wipe = null; // where the line stands, as a share of the width

  // over: the canvas that lies over the other one. It calls zoom(scale), moved() and tap(place, isDouble), where place
  // is [x, y] as shares of the picture, or null beside it.
  constructor(frame, canvas, { over = null, signal = undefined, zoom = () => {}, moved = () => {}, tap = () => {} }) {
    this.frame = frame;
    this.canvas = canvas;
    this.over = over;
    this.on = { zoom, moved, tap };
    frame.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    frame.addEventListener("dblclick", (event) => this.#double(event));
    frame.addEventListener("pointerdown", (event) => this.#down(event));
    frame.addEventListener("pointermove", (event) => this.#move(event));
    for (const name of ["pointerup", "pointercancel"]) frame.addEventListener(name, (event) => this.#up(event));
    addEventListener("resize", () => this.#place(), { signal });
  }

  show(bitmap) {
    paint(this.canvas, bitmap);
    this.#wipe = null;
    if (this.over) this.over.hidden = true;
    this.on.moved();
  }

  // `before` left of the line, the picture right of it.
  compare(bitmap, before) {
    this.show(bitmap);
    paint(this.over, before);
    this.over.hidden = false;
    this.#wipeTo(0.5);
  }

  zoomIn() {
    this.#zoomAt(this.#scale * STEP);
  }
  zoomOut() {
    this.#zoomAt(this.#scale / STEP);
  }
  // Reads no layout when there is nothing to do: every new picture comes here.
  zoomReset() {
    if (this.#scale !== 1) this.#zoomAt(1);
  }

  // With the arrow keys: moves what is seen, or the line while nothing is zoomed. False: there is nothing to move.
  pan(dx, dy) {
    if (this.#scale > 1) {
      this.#x += dx * PAN_PX;
      this.#y += dy * PAN_PX;
      this.#place();
      return true;
    }
    if (this.#wipe === null || !dx) return false;
    this.#wipeTo(this.#wipe - dx * 0.05);
    return true;
  }

  // Where the picture itself lies on the page: the canvas may be wider or higher than it.
  box() {
    const box = this.canvas.getBoundingClientRect();
    const factor = Math.min(box.width / this.canvas.width, box.height / this.canvas.height);
    const [width, height] = [this.canvas.width * factor, this.canvas.height * factor];
    return { left: box.left + (box.width - width) / 2, top: box.top + (box.height - height) / 2, width, height };
  }

  // [x, y] from 0 to 1 of a point on the page; null beside the picture.
  placeOf({ clientX, clientY }) {
    const box = this.box();
    const place = [(clientX - box.left) / box.width, (clientY - box.top) / box.height];
    return place.every((share) => share >= 0 && share <= 1) ? place : null;
  }

  // The other way round, in pixels of the frame.
  pointOf([x, y]) {
    const [box, frame] = [this.box(), this.frame.getBoundingClientRect()];
    return [box.left - frame.left + x * box.width, box.top - frame.top + y * box.height];
  }

  #wipeTo(share) {
    this.#wipe = Math.min(1, Math.max(0, share));
    this.over.style.clipPath = `inset(0 ${(100 - this.#wipe * 100).toFixed(2)}% 0 0)`;
    this.on.moved();
  }

  get wipe() {
    return this.#wipe;
  }

  #zoomAt(scale, point) {
    const next = Math.min(MOST, Math.max(LEAST, scale));
    const box = this.frame.getBoundingClientRect();
    const [px, py] = point
      ? [point.clientX - box.left - box.width / 2, point.clientY - box.top - box.height / 2]
      : [0, 0];
    // The point under the cursor stays where it is.
    this.#x = px - ((px - this.#x) * next) / this.#scale;
    this.#y = py - ((py - this.#y) * next) / this.#scale;
    this.#scale = next;
    this.#place();
  }

  #place() {
    const slackX = (this.canvas.clientWidth * (this.#scale - 1)) / 2;
    const slackY = (this.canvas.clientHeight * (this.#scale - 1)) / 2;
    this.#x = Math.min(slackX, Math.max(-slackX, this.#x));
    this.#y = Math.min(slackY, Math.max(-slackY, this.#y));
    const transform = this.#scale === 1 ? "" : `translate(${this.#x}px, ${this.#y}px) scale(${this.#scale})`;
    for (const canvas of [this.canvas, this.over]) if (canvas) canvas.style.transform = transform;
    this.frame.classList.toggle("is-zoomed", this.#scale > 1);
    this.on.zoom(this.#scale);
    this.on.moved();
  }

  #wheel(event) {
    event.preventDefault();
    this.#zoomAt(this.#scale * Math.exp(-event.deltaY / 400), event);
  }

  #double(event) {
    this.on.tap(this.placeOf(event), true);
    this.#zoomAt(this.#scale > 1 ? 1 : 2.5, event);
  }

  #down(event) {
    this.#pointers.set(event.pointerId, event);
    this.#press = this.#pointers.size === 1 && event.button === 0 ? event : null;
    if (this.#scale > 1 || this.#pointers.size > 1) this.frame.setPointerCapture(event.pointerId);
  }

  #move(event) {
    const last = this.#pointers.get(event.pointerId);
    const moved = this.#press && Math.hypot(event.clientX - this.#press.clientX, event.clientY - this.#press.clientY);
    if (moved > STILL_PX) this.#press = null;
    // The mouse moves the line by itself, a finger while it is down.
    if (this.#wipe !== null && this.#pointers.size < 2 && (last ? this.#scale === 1 : event.pointerType === "mouse")) {
      const box = this.box();
      this.#wipeTo((event.clientX - box.left) / box.width);
    }
    if (!last) return;
    if (this.#pointers.size === 2) {
      const other = [...this.#pointers.values()].find((pointer) => pointer.pointerId !== event.pointerId);
      const spread = (pointer) => Math.hypot(pointer.clientX - other.clientX, pointer.clientY - other.clientY);
      const middle = { clientX: (event.clientX + other.clientX) / 2, clientY: (event.clientY + other.clientY) / 2 };
      this.#zoomAt((this.#scale * spread(event)) / Math.max(1, spread(last)), middle);
    } else if (this.#scale > 1) {
      this.#x += event.clientX - last.clientX;
      this.#y += event.clientY - last.clientY;
      this.#place();
    }
    this.#pointers.set(event.pointerId, event);
  }

  #up(event) {
    this.#pointers.delete(event.pointerId);
    const press = this.#press;
    this.#press = null;
    if (press && press.pointerId === event.pointerId && event.type === "pointerup") this.on.tap(this.placeOf(event), false);
  }
}

function paint(canvas, bitmap) {
  if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
    canvas.width = bitmap.width;
    canvas.height = bitmap.height;
  }
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, bitmap.width, bitmap.height);
  context.drawImage(bitmap, 0, 0);
}
