// Sends what the annotator did, in order, one request at a time, again and again until the server has answered.
// Events: "change" (something was added, saved or refused), "result" (detail: one entry and its outcome) and "elsewhere"
// (detail: the task that another tab has just answered).
import { ApiError, post } from "./api.js";
import { MemoryStore, newSeq } from "./store.js";

const MOST_AT_ONCE = 50;
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 15000;

export class Outbox extends EventTarget {
  saved = 0;
  waiting = []; // entries not yet answered for, those of other tabs too
  problem = ""; // "", "offline" or "login"
  #tail = Promise.resolve(); // of what must happen one after the other: writes and undos
  #running = false;
  #again = false;
  #wake = () => {};

  // answers: the verb that takes many at once, which is also the name of their list in the body.
  constructor(store, base, channelName, answers = "annotations") {
    super();
    this.store = store;
    this.base = base;
    this.answers = answers;
    this.lockName = channelName;
    // Tabs of one person share the store: one of them sends (under a lock), all of them hear what comes and goes.
    this.channel = new BroadcastChannel(channelName);
    this.channel.onmessage = ({ data }) => this.#hear(data);
    addEventListener("online", () => this.#wake());
  }

  async start() {
    const kept = await this.store.all();
    const known = new Set(this.waiting.map((entry) => entry.seq));
    const others = kept.filter((entry) => !known.has(entry.seq));
    this.waiting = [...others, ...this.waiting];
    this.#changed();
    this.#forgetSent(others);
    this.drain();
  }

  // Writes at once, in the same turn as the key; returns the entry's place.
  add(verb, body, task) {
    const entry = { seq: newSeq(), verb, body, task };
    const kept = this.store.add(entry);
    this.waiting.push(entry);
    this.#changed();
    this.#inOrder(() =>
      kept.then(
        () => {
          this.channel.postMessage({ added: entry });
          this.drain();
        },
        () => this.#notKept(),
      ),
    );
    return entry.seq;
  }

  // The disk is full, or the browser took the storage away: go on in memory; the page says so.
  #notKept() {
    if (this.store.isLasting) this.store = new MemoryStore(this.waiting);
    this.#changed();
    this.drain();
  }

  // Take an action back: out of the store if it was never sent, else by telling the server after it.
  undo(action) {
    return this.#inOrder(async () => {
      // Where the storage fails, it is not known to be out: then the server hears of both, in their order.
      if (await this.store.takeOutUnsent(action.seq).catch(() => false)) {
        this.channel.postMessage({ gone: [action.seq] });
        this.#forget([action.seq]);
        return;
      }
      const what = { [this.answers]: { id: action.id }, skip: { skipped: action.task }, flag: { flagged: action.task } };
      this.add("undo", what[action.verb], action.task);
    });
  }

  get tasks() {
    return this.waiting.map((entry) => entry.task);
  }

  async drain() {
    if (this.#running) {
      this.#again = true;
      return;
    }
    this.#running = true;
    try {
      const locks = navigator.locks;
      await (locks ? locks.request(this.lockName, () => this.#sendAll()) : this.#sendAll());
    } finally {
      this.#running = false;
    }
    if (this.#again) {
      this.#again = false;
      this.drain();
    }
  }

  async #sendAll() {
    let pause = FIRST_WAIT_MS;
    for (;;) {
      const entries = await this.store.takeNext(MOST_AT_ONCE, (kept) => nextBatch(kept, this.answers));
      if (!entries.length) return;
      try {
        const outcomes = await this.#send(entries);
        const gone = entries.map((entry) => entry.seq);
        await this.store.remove(gone);
        this.#tell({ gone, outcomes, problem: "" });
        pause = FIRST_WAIT_MS;
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        this.#tell({ problem: error.isLogin ? "login" : "offline" });
        await this.#sleep(pause * (0.75 + Math.random() / 2));
        pause = Math.min(pause * 2, LONGEST_WAIT_MS);
      }
    }
  }

  // The outcome of each entry; throws only what is worth another try.
  async #send(entries) {
    const [{ verb, body, task, seq }] = entries;
    const isAnswers = verb === this.answers;
    try {
      if (isAnswers) {
        const { results } = await post(this.base, verb, { [verb]: entries.map((entry) => entry.body) });
        return results.map((result, number) => ({ ...result, verb, seq: entries[number].seq }));
      }
      const data = await post(this.base, verb, body);
      return [{ verb, seq, task, status: "saved", message: "", ...data }];
    } catch (error) {
      if (error.isTemporary || error.isLogin) throw error;
      // The server understood and said no. One bad answer must not take its neighbours along: send them alone.
      if (isAnswers && entries.length > 1) return (await this.#oneByOne(entries)).flat();
      return [{ verb, seq, task, status: "refused", message: error.message }];
    }
  }

  async #oneByOne(entries) {
    const outcomes = [];
    for (const entry of entries) outcomes.push(await this.#send([entry]));
    return outcomes;
  }

  #tell(news) {
    this.channel.postMessage(news);
    this.#hear(news);
  }

  // From this tab or another one.
  #hear({ added, gone = [], outcomes = [], problem = this.problem }) {
    this.problem = problem;
    for (const outcome of outcomes) {
      if (outcome.verb === this.answers && outcome.status !== "refused") this.saved += 1;
      if (outcome.verb === "undo" && outcome.status === "saved") this.saved = Math.max(0, this.saved - 1);
      this.dispatchEvent(new CustomEvent("result", { detail: outcome }));
    }
    if (added && !this.waiting.some((entry) => entry.seq === added.seq)) {
      this.waiting.push(added);
      if (added.verb !== "undo") this.dispatchEvent(new CustomEvent("elsewhere", { detail: added.task }));
      this.#forgetSent([added]);
      this.drain(); // waits for the lock: should that tab die before it has sent it, this one does
    }
    this.#forget(gone);
  }

  // Whoever holds the lock may have sent an entry, and said so, before we heard that there is one. What is in the store
  // now is not sent yet, and that it is gone will be heard later.
  async #forgetSent(entries) {
    const kept = new Set((await this.store.all()).map((entry) => entry.seq));
    const sent = entries.map((entry) => entry.seq).filter((seq) => !kept.has(seq));
    if (sent.length) this.#forget(sent);
  }

  #forget(gone) {
    if (gone.length) this.waiting = this.waiting.filter((entry) => !gone.includes(entry.seq));
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }

  #inOrder(work) {
    const done = this.#tail.then(work);
    this.#tail = done.catch(() => {});
    return done;
  }

  #sleep(ms) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

// Answers in a row go together; everything else goes alone, so that order is kept.
function nextBatch(entries, answers) {
  const head = entries.findIndex((entry) => entry.verb !== answers);
  if (head === 0) return entries.slice(0, 1);
  return entries.slice(0, head < 0 ? entries.length : head);
}
