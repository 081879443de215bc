// What else is wrong, where a project asks: further defects, and a marker on the place. Set before the label, or not
// at all: the label key alone still labels.

const CLOSE_PX = 18; // a click so near to the marker takes it away

export class Details {
  #secondary = new Set();
  #marker = null;
  isOnPicture = true; // false while another picture is shown, on which the place means nothing
  #before = []; // markers before the last two taps: a double click zooms, and leaves the marker as it was

  constructor(viewer, titles, announce) {
    this.viewer = viewer;
    this.titles = titles;
    this.announce = announce;
    this.mark = document.querySelector("[data-part=marker]");
    for (const button of this.#buttons()) {
      button.addEventListener("click", () => this.toggle(Number(button.dataset.also)));
    }
  }

  set isAsked(isAsked) {
    document.querySelector("[data-desk]").classList.toggle("asks-details", isAsked);
    for (const part of document.querySelectorAll("[data-details]")) part.hidden = !isAsked;
    this.asked = isAsked;
    if (!isAsked) this.restore();
  }

  toggle(label) {
    if (!this.asked || label === 0) return;
    if (!this.#secondary.delete(label)) this.#secondary.add(label);
    this.announce(`${this.titles[label]}: ${this.#secondary.has(label) ? "also" : "not"} wrong.`);
    this.#paint();
  }

  // place: [x, y] as shares of the picture, null beside it.
  tap(place, isDouble) {
    if (!this.asked) return;
    if (isDouble) this.#marker = this.#before[0] ?? null;
    else if (place) {
      this.#before = [...this.#before, this.#marker].slice(-2);
      this.#marker = this.#isNear(place) ? null : place;
      this.announce(this.#marker ? "Place marked." : "Marker taken away.");
    }
    this.#paint();
  }

  // As the API takes them with this label; undefined when there is nothing to say.
  given(label) {
    if (!this.asked) return undefined;
    const secondary = [...this.#secondary].filter((other) => other !== label).sort();
    const details = {};
    if (secondary.length) details.secondary = secondary;
    if (this.#marker) details.marker = this.#marker.map((share) => Math.round(share * 1e4) / 1e4);
    return Object.keys(details).length ? details : undefined;
  }

  // For the next picture: nothing; after an undo: what was there.
  restore({ secondary = [], marker = null } = {}) {
    const wasEmpty = !this.#secondary.size && !this.#marker && !secondary.length && !marker;
    [this.#secondary, this.#marker, this.#before] = [new Set(secondary), marker, []];
    if (!wasEmpty) this.#paint();
  }

  // The marker stays on its place of the picture, however that is zoomed.
  follow() {
    this.mark.hidden = !this.#marker || !this.isOnPicture;
    if (this.mark.hidden) return;
    const [x, y] = this.viewer.pointOf(this.#marker);
    this.mark.style.translate = `${x}px ${y}px`;
  }

  #paint() {
    for (const button of this.#buttons()) {
      button.setAttribute("aria-pressed", String(this.#secondary.has(Number(button.dataset.also))));
    }
    this.follow();
  }

  #isNear(place) {
    if (!this.#marker) return false;
    const [x, y] = this.viewer.pointOf(place);
    const [markX, markY] = this.viewer.pointOf(this.#marker);
    return Math.hypot(x - markX, y - markY) < CLOSE_PX;
  }

  #buttons() {
    return document.querySelectorAll("[data-also]");
  }
}
