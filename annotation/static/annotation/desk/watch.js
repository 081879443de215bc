// The clock of one picture: stands still while the page is not looked at.

export class Watch {
  #spent = 0;
  #since = null;
  #isOn = false;

  constructor() {
    document.addEventListener("visibilitychange", () => (document.hidden ? this.#pause() : this.#goOn()));
  }

  start() {
    this.#spent = 0;
    this.#since = null;
    this.#isOn = true;
    this.#goOn();
  }

  get seconds() {
    return Math.round(this.#spent + (this.#since === null ? 0 : performance.now() - this.#since)) / 1000;
  }

  #goOn() {
    if (this.#isOn && !document.hidden) this.#since ??= performance.now();
  }

  #pause() {
    if (this.#since === null) return;
    this.#spent += performance.now() - this.#since;
    this.#since = null;
  }
}
