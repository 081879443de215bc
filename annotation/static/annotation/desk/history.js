// What can be undone, newest last. Kept for this tab over a reload.

const MOST = 30;

export class History {
  constructor(key) {
    this.key = key;
    try {
      this.actions = JSON.parse(sessionStorage.getItem(key)) ?? [];
    } catch {
      this.actions = [];
    }
  }

  // seq: its place in the outbox.
  push({ verb, id, seq, shown }) {
    const { bitmaps, blobs, loading, extra, placed, ...task } = shown;
    this.actions = [...this.actions, { verb, id, task: task.task ?? task.pair, shown: task, seq }].slice(-MOST);
    this.#keepSoon();
  }

  pop() {
    const action = this.actions.pop();
    this.#keepSoon();
    return action;
  }

  // After the next picture is on the screen: writing down thirty tasks takes its time.
  #keepSoon() {
    this.soon ??= setTimeout(() => this.keep(), 0);
  }

  keep() {
    clearTimeout(this.soon);
    this.soon = null;
    try {
      sessionStorage.setItem(this.key, JSON.stringify(this.actions));
    } catch {
      // not kept: undo works until the next reload
    }
  }
}
