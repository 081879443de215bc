// Decisions on their way to the server: kept in this browser until it said what became of them, sent in order.

import { newId, post } from "../desk/api.js";

const [MOST, FIRST_WAIT_MS, LONGEST_WAIT_MS] = [50, 1000, 30000];

export class Outbox {
  #waiting = new Map();
  #isSending = false;
  #saved = 0;
  #wait = FIRST_WAIT_MS;
  #timer = 0;

  constructor({ user, api, madeIn }, { onState, onRefused, onSaved = () => {} }) {
    Object.assign(this, { api, madeIn, onState, onRefused, onSaved });
    this.prefix = `adproof-decision:${user}:`;
    this.#recover();
    addEventListener("online", () => this.flush());
    addEventListener("visibilitychange", () => document.visibilityState === "visible" && this.flush());
    addEventListener("beforeunload", (event) => {
      if (this.#waiting.size && !this.isKept) event.preventDefault();
    });
    this.flush();
  }

  get size() {
    return this.#waiting.size;
  }

  add(decision) {
    const made = { id: newId(), made_in: this.madeIn, ...decision };
    this.#waiting.set(made.id, made);
    try {
      // `at` keeps the order over a reload; one key each, so that two tabs do not overwrite each other's.
      localStorage.setItem(this.prefix + made.id, JSON.stringify({ at: Date.now(), made }));
      this.isKept = true;
    } catch {
      this.isKept = false;
    }
    this.flush();
    return made;
  }

  // Send now what waits. Resolves when that attempt is over, whatever came of it.
  async flush() {
    clearTimeout(this.#timer);
    if (this.#isSending) return this.sending;
    this.#isSending = true;
    this.sending = this.#send();
    await this.sending;
  }

  async #send() {
    try {
      while (this.#waiting.size) {
        this.#tell("sending");
        const batch = [...this.#waiting.values()].slice(0, MOST);
        const { results } = await post(this.api, "decisions", { decisions: batch });
        this.#wait = FIRST_WAIT_MS;
        for (const result of results) this.#settle(result);
      }
      this.#tell("saved");
    } catch (error) {
      if (error.isLogin) this.#tell("login");
      else if (error.isTemporary) {
        this.#tell("offline");
        this.#timer = setTimeout(() => this.flush(), this.#wait);
        this.#wait = Math.min(2 * this.#wait, LONGEST_WAIT_MS);
      } else {
        // The server wants none of this batch (a role taken away, say): nothing would change by sending it again.
        for (const decision of [...this.#waiting.values()].slice(0, MOST)) {
          this.#settle({ id: decision.id, status: "refused", message: error.message });
        }
        this.#tell("saved");
      }
    } finally {
      this.#isSending = false;
    }
  }

  #settle({ id, status, message }) {
    const decision = this.#waiting.get(id);
    this.#waiting.delete(id);
    try {
      localStorage.removeItem(this.prefix + id);
    } catch {
      // Nothing was kept there.
    }
    if (!decision) return;
    if (status === "refused") this.onRefused(decision, message);
    else {
      this.#saved += 1;
      this.onSaved(decision);
    }
  }

  #tell(state) {
    this.onState({ state, saved: this.#saved, waiting: this.#waiting.size });
  }

  #recover() {
    try {
      const kept = Object.keys(localStorage)
        .filter((key) => key.startsWith(this.prefix))
        .map((key) => JSON.parse(localStorage.getItem(key)))
        .sort((one, other) => one.at - other.at);
      for (const { made } of kept) this.#waiting.set(made.id, made);
      this.isKept = true;
    } catch {
      this.isKept = false;
    }
  }
}

const WORDS = {
  saved: ({ saved }) => `${saved} saved`,
  sending: ({ saved, waiting }) => `${saved} saved, ${waiting} sending`,
  offline: ({ saved, waiting }) => `${saved} saved, ${waiting} waiting: no connection. They are kept here and sent by themselves.`,
  login: ({ waiting }) => `${waiting} waiting: log in again to save them.`,
};

// The line that says how the saving goes, the same on every page of reviewers.
export function sayState(state) {
  const line = document.querySelector("[data-part=saving]");
  line.dataset.state = state.state;
  line.textContent = WORDS[state.state](state);
  document.querySelector("[data-part=trouble]").hidden = !["offline", "login"].includes(state.state);
  document.querySelector("[data-part=login]").hidden = state.state !== "login";
}

export function sayRefused(decision, message, url) {
  const list = document.querySelector("[data-part=refused]");
  const [item, link] = [document.createElement("li"), document.createElement("a")];
  item.className = "note note-warning";
  link.href = url;
  link.textContent = `Candidate ${decision.candidate}`;
  item.append(link, ` was not decided: ${message}`);
  list.append(item);
  list.hidden = false;
}
