// The next tasks (or pairs), held under lease with their pictures decoded. Events: "change", and "lost" (detail: task ids).
import { ApiError, post } from "./api.js";
import { decode, fetchPicture } from "./pictures.js";

// As many as last for two minutes at one's own pace: the connection may be gone for so long. Not more while few are
// left, for others want some too.
const LASTS_S = 120;
const [LEAST_AHEAD, MOST_AHEAD, MOST_AT_ONCE] = [10, 60, 50];
const DECODE_AHEAD = 5; // decoded pictures take a megabyte each; of the others the files are kept
const AFTER_PAINT_MS = 30;
const FETCH_AT_ONCE = 3; // the rest of the browser's connections are for answers
const RENEW_MS = 60000;
// Somebody who left the page open overnight must not keep pictures from the others.
const AWAY_MS = 20 * 60000;
const AGAIN_MS = 1000; // given nothing but what is answered here already: the answers are on their way
const HELD_AT_MOST = 500;
const POLL_MS = { not_ready: 3000, empty: 10000, paused: 15000, offline: 3000, login: 5000 };

// How the API calls them, and the pictures that must be there before one is shown.
const TASKS = { many: "tasks", one: "task", pictures: ["generated", "product"] };

export class Queue extends EventTarget {
  tasks = [];
  current = null; // the one on the screen
  state = "loading"; // "ok", "empty", "not_ready", "paused", "offline", "login"
  left = 0;
  doneToday = 0;
  plenty = Infinity; // how many the server counts at most: so many or more are left
  ready = null; // a promise: from then on it is known what is answered already
  pace = 0; // seconds for a picture; 0: not known yet
  guidelinesVersion = null;
  asksDetails = false;
  #fetching = 0;
  #busy = false;
  #poll = 0;
  #lastUsed = Date.now();

  // answered: the ids of what is answered here, or in another tab, and not with the server yet.
  constructor(base, project, answered, kind = TASKS) {
    super();
    this.kind = kind;
    this.base = base;
    this.project = project;
    this.answered = answered;
  }

  start() {
    setInterval(() => Date.now() - this.#lastUsed < AWAY_MS && this.renew(), RENEW_MS);
    document.addEventListener("visibilitychange", () => document.hidden || this.renew());
    return this.refill();
  }

  // The next task whose picture is there, or null. It stays held until it is answered or released.
  next() {
    this.#lastUsed = Date.now();
    const place = this.tasks.findIndex((task) => task.bitmaps);
    if (place < 0) return null;
    const [task] = this.tasks.splice(place, 1);
    // Not before this one is painted: decoding the one after the next would take the processor away from it.
    setTimeout(() => {
      this.refill();
      this.#getAhead();
    }, AFTER_PAINT_MS);
    return task;
  }

  get #ahead() {
    if (!this.pace || this.left < this.plenty) return LEAST_AHEAD;
    return Math.min(MOST_AHEAD, Math.max(LEAST_AHEAD, Math.ceil(LASTS_S / this.pace)));
  }

  putFirst(task) {
    this.tasks = [task, ...this.tasks.filter((other) => this.#id(other) !== this.#id(task))];
    this.#getAhead();
  }

  dropProduct(product) {
    const gone = this.tasks.filter((task) => task.product.id === product);
    this.tasks = this.tasks.filter((task) => task.product.id !== product);
    if (gone.length) post(this.base, "release", this.#listed(gone)).catch(() => {});
    this.refill();
  }

  async refill() {
    const ahead = this.#ahead;
    if (this.#busy || this.tasks.length > ahead - Math.max(3, ahead / 10)) return;
    this.#busy = true;
    clearTimeout(this.#poll);
    let isAllAnswered = false;
    try {
      const midnight = new Date();
      midnight.setHours(0, 0, 0, 0);
      const asked = {
        project: this.project,
        count: Math.min(MOST_AT_ONCE, ahead - this.tasks.length),
        today_from: midnight.toISOString(),
        // When nothing else is left, we get what a page that was closed too suddenly holds in our name.
        held: this.#mine().slice(0, HELD_AT_MOST),
      };
      const given = await post(this.base, "lease", asked);
      await this.ready;
      const mine = new Set(this.#mine());
      const fresh = given[this.kind.many].filter((task) => !mine.has(this.#id(task)));
      isAllAnswered = given.state === "ok" && !fresh.length;
      this.tasks.push(...fresh);
      this.left = given.left;
      this.doneToday = given.done_today;
      this.guidelinesVersion = given.guidelines_version;
      this.asksDetails = given.asks_details;
      this.state = given.state;
      this.dispatchEvent(new Event("counted"));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.state = error.isLogin ? "login" : "offline";
    } finally {
      this.#busy = false;
    }
    const pause = isAllAnswered ? AGAIN_MS : POLL_MS[this.state];
    if (pause) this.#poll = setTimeout(() => this.refill(), pause);
    this.#getAhead();
    this.dispatchEvent(new Event("change"));
  }

  // In order: decode the first ones, fetch the files of the rest. While nothing is there to look at, one after the
  // other, so that the first one comes first and soon.
  #getAhead() {
    const most = this.current || this.tasks.some((task) => task.bitmaps) ? FETCH_AT_ONCE : 1;
    for (const [place, task] of this.tasks.entries()) {
      if (this.#fetching >= most) return;
      if (place < DECODE_AHEAD) this.load(task);
      else this.#fetch(task);
    }
  }

  #fetch(task) {
    if (task.blobs) return task.blobs;
    this.#fetching += 1;
    task.blobs = Promise.all(this.kind.pictures.map((name) => fetchPicture(task.pictures[name])));
    task.blobs.catch(() => (task.blobs = null)).finally(() => {
      this.#fetching -= 1;
      if (task.blobs) return this.#getAhead();
      // What can't be had is tried again, after the others.
      const place = this.tasks.indexOf(task);
      if (place >= 0) this.tasks.push(...this.tasks.splice(place, 1));
      setTimeout(() => this.#getAhead(), 2000);
    });
    return task.blobs;
  }

  // Decode a task's main pictures, once.
  load(task) {
    task.loading ??= this.#fetch(task)
      .then((blobs) => Promise.all(blobs.map(decode)))
      .then(
        (bitmaps) => {
          task.bitmaps = Object.fromEntries(this.kind.pictures.map((name, place) => [name, bitmaps[place]]));
          this.dispatchEvent(new Event("change"));
        },
        () => (task.loading = null),
      );
    return task.loading;
  }

  async renew() {
    const held = this.#held();
    if (!held.length) return;
    try {
      const { lost } = await post(this.base, "renew", this.#listed(held));
      if (!lost.length) return;
      this.tasks = this.tasks.filter((task) => !lost.includes(this.#id(task)));
      this.dispatchEvent(new CustomEvent("lost", { detail: lost }));
      this.refill();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      // No connection: the leases may lapse; the server judges what is answered after that.
    }
  }

  // The page goes away: others may have these at once. What waits in the outbox stays ours.
  letGo() {
    const answered = new Set(this.answered());
    const free = this.#held().filter((task) => !answered.has(this.#id(task)));
    if (free.length) post(this.base, "release", this.#listed(free), { keepalive: true }).catch(() => {});
    this.tasks = [];
  }

  #id(task) {
    return task[this.kind.one];
  }

  #held() {
    return this.current ? [...this.tasks, this.current] : this.tasks;
  }

  // What we need not be given: it is here, or answered and on its way. Both lists are short but for a long time offline.
  #mine() {
    return [...new Set([...this.#held().map((task) => this.#id(task)), ...this.answered()])];
  }

  // It was answered in another tab, which had it as well: when nothing else is left, both get the same.
  forget(id) {
    this.tasks = this.tasks.filter((task) => this.#id(task) !== id);
    this.dispatchEvent(new Event("change"));
  }

  #listed(tasks) {
    return { [this.kind.many]: tasks.map((task) => this.#id(task)) };
  }
}
