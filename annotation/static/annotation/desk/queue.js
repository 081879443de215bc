// The next tasks (or pairs), held under lease with their pictures decoded. Events: "change", and "lost" (detail: task ids).
import { ApiError, post } from "./api.js";
import { decode } from "./pictures.js";

const AHEAD = 10;
const REFILL_BELOW = 7;
const DECODE_AHEAD = 5;
const RENEW_MS = 60000;
// Somebody who left the page open overnight must not keep pictures from the others.
const AWAY_MS = 20 * 60000;
const POLL_MS = { not_ready: 3000, empty: 10000, paused: 15000, offline: 3000, login: 5000 };

// How the API calls them, and the pictures that must be there before one is shown.
const TASKS = { many: "tasks", one: "task", pictures: ["generated", "product"] };

export class Queue extends EventTarget {
  tasks = [];
  current = null; // the one on the screen
  state = "loading"; // "ok", "empty", "not_ready", "paused", "offline", "login"
  left = 0;
  doneToday = 0;
  #busy = false;
  #poll = 0;
  #lastUsed = Date.now();

  constructor(base, project, isAnswered, kind = TASKS) {
    super();
    this.kind = kind;
    this.base = base;
    this.project = project;
    this.isAnswered = isAnswered;
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
    this.refill();
    this.#decodeAhead();
    return task;
  }

  putFirst(task) {
    this.tasks = [task, ...this.tasks.filter((other) => this.#id(other) !== this.#id(task))];
    this.#decodeAhead();
  }

  dropProduct(product) {
    const gone = this.tasks.filter((task) => task.product.id === product);
    this.tasks = this.tasks.filter((task) => task.product.id !== product);
    if (gone.length) post(this.base, "release", this.#listed(gone)).catch(() => {});
    this.refill();
  }

  async refill() {
    if (this.#busy || this.tasks.length >= REFILL_BELOW) return;
    this.#busy = true;
    clearTimeout(this.#poll);
    try {
      const midnight = new Date();
      midnight.setHours(0, 0, 0, 0);
      const asked = { project: this.project, count: AHEAD - this.tasks.length, today_from: midnight.toISOString() };
      const given = await post(this.base, "lease", asked);
      const held = new Set(this.#held().map((task) => this.#id(task)));
      const fresh = given[this.kind.many].filter((task) => !held.has(this.#id(task)) && !this.isAnswered(this.#id(task)));
      this.tasks.push(...fresh);
      this.left = given.left;
      this.doneToday = given.done_today;
      this.leaseMinutes = given.lease_minutes;
      this.state = given.state;
      this.dispatchEvent(new Event("counted"));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.state = error.isLogin ? "login" : "offline";
    } finally {
      this.#busy = false;
    }
    const pause = POLL_MS[this.state];
    if (pause) this.#poll = setTimeout(() => this.refill(), pause);
    this.#decodeAhead();
    this.dispatchEvent(new Event("change"));
  }

  #decodeAhead() {
    for (const task of this.tasks.slice(0, DECODE_AHEAD)) this.load(task);
  }

  // Decode a task's main pictures once; a picture that can't be had is tried again at the next refill.
  load(task) {
    task.loading ??= Promise.all(this.kind.pictures.map((name) => decode(task.pictures[name]))).then(
      (bitmaps) => {
        task.bitmaps = Object.fromEntries(this.kind.pictures.map((name, place) => [name, bitmaps[place]]));
        this.dispatchEvent(new Event("change"));
      },
      () => {
        task.loading = null;
        setTimeout(() => this.#decodeAhead(), 2000);
      },
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
    const free = this.#held().filter((task) => !this.isAnswered(this.#id(task)));
    if (free.length) post(this.base, "release", this.#listed(free), { keepalive: true }).catch(() => {});
    this.tasks = [];
  }

  #id(task) {
    return task[this.kind.one];
  }

  #held() {
    return this.current ? [...this.tasks, this.current] : this.tasks;
  }

  #listed(tasks) {
    return { [this.kind.many]: tasks.map((task) => this.#id(task)) };
  }
}
