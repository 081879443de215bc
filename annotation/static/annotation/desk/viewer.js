// The big picture: paints a decoded bitmap at once; zoom with keys, wheel, pinch; pan by dragging.

const STEP = 1.35;
const [LEAST, MOST] = [1, 8];

export class Viewer {
  #scale = 1;
  #x = 0;
  #y = 0;
  #pointers = new Map();

  constructor(frame, canvas, onZoom) {
    this.frame = frame;
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.onZoom = onZoom;
    frame.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    frame.addEventListener("dblclick", (event) => this.#zoomAt(this.#scale > 1 ? 1 : 2.5, event));
    frame.addEventListener("pointerdown", (event) => this.#down(event));
    frame.addEventListener("pointermove", (event) => this.#move(event));
    for (const name of ["pointerup", "pointercancel"]) frame.addEventListener(name, (event) => this.#up(event));
  }

  show(bitmap) {
    if (this.canvas.width !== bitmap.width || this.canvas.height !== bitmap.height) {
      this.canvas.width = bitmap.width;
      this.canvas.height = bitmap.height;
    }
    this.context.clearRect(0, 0, bitmap.width, bitmap.height);
    this.context.drawImage(bitmap, 0, 0);
  }

  zoomIn() {
    this.#zoomAt(this.#scale * STEP);
  }
  zoomOut() {
    this.#zoomAt(this.#scale / STEP);
  }
  zoomReset() {
    this.#zoomAt(1);
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
    this.canvas.style.transform = `translate(${this.#x}px, ${this.#y}px) scale(${this.#scale})`;
    this.frame.classList.toggle("is-zoomed", this.#scale > 1);
    this.onZoom(this.#scale);
  }

  #wheel(event) {
    event.preventDefault();
    this.#zoomAt(this.#scale * Math.exp(-event.deltaY / 400), event);
  }

  #down(event) {
    this.#pointers.set(event.pointerId, event);
    if (this.#scale > 1 || this.#pointers.size > 1) this.frame.setPointerCapture(event.pointerId);
  }

  #move(event) {
    const last = this.#pointers.get(event.pointerId);
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
  }
}
