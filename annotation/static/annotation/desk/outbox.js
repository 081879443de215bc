// Sends what the annotator did, in order, one request at a time, again and again until the server has answered.
// Events: "change" (something was added, saved or refused) and "result" (detail: one entry and its outcome).
import { ApiError, post } from "./api.js";

const MOST_AT_ONCE = 50;
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 15000;

export class Outbox extends EventTarget {
  saved = 0;
  waiting = []; // entries not yet answered for
  problem = ""; // "", "offline" or "login"
  #tail = Promise.resolve();
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
    // Tabs of one person share the store: one of them sends (under a lock), all of them hear of the results.
    this.channel = new BroadcastChannel(channelName);
    this.channel.onmessage = ({ data }) => this.#hear(data);
    addEventListener("online", () => this.#wake());
  }

  async start() {
    await this.#refresh();
    this.drain();
  }

  // Adding keeps the order of calls even though the store is asynchronous.
  add(verb, body, task) {
    return this.#inOrder(async () => {
      const seq = await this.store.add({ verb, body, task });
      await this.#refresh();
      this.drain();
      return seq;
    });
  }

  // Take an action back: out of the store if it was never sent, else by telling the server after it.
  undo(action) {
    return this.#inOrder(async () => {
      const seq = await action.seq;
      if (!(await this.store.takeOutUnsent(seq))) {
        const what = { [this.answers]: { id: action.id }, skip: { skipped: action.task }, flag: { flagged: action.task } };
        await this.store.add({ verb: "undo", body: what[action.verb], task: action.task });
      }
      await this.#refresh();
      this.drain();
    });
  }

  holds(task) {
    return this.waiting.some((entry) => entry.task === task);
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
      const entries = await this.store.markTried(nextBatch(await this.store.all(), this.answers));
      if (!entries.length) return;
      try {
        const outcomes = await this.#send(entries);
        await this.store.remove(entries.map((entry) => entry.seq));
        await this.#tell({ outcomes, problem: "" });
        pause = FIRST_WAIT_MS;
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        await this.#tell({ outcomes: [], problem: error.isLogin ? "login" : "offline" });
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

  async #tell(news) {
    this.channel.postMessage(news);
    await this.#hear(news);
  }

  async #hear({ outcomes, problem }) {
    this.problem = problem;
    for (const outcome of outcomes) {
      if (outcome.verb === this.answers && outcome.status !== "refused") this.saved += 1;
      if (outcome.verb === "undo" && outcome.status === "saved") this.saved = Math.max(0, this.saved - 1);
      this.dispatchEvent(new CustomEvent("result", { detail: outcome }));
    }
    await this.#refresh();
  }

  async #refresh() {
    this.waiting = await this.store.all();
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
  return entries.slice(0, Math.min(head < 0 ? entries.length : head, MOST_AT_ONCE));
}
