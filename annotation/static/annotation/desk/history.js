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

  // seq: a promise of the place in the outbox.
  push({ verb, id, seq, shown }) {
    const { bitmaps, loading, extra, placed, ...task } = shown;
    const action = { verb, id, task: task.task ?? task.pair, shown: task, seq };
    this.actions = [...this.actions, action].slice(-MOST);
    Promise.resolve(seq).then((place) => {
      action.seq = place;
      this.#keep();
    });
  }

  pop() {
    const action = this.actions.pop();
    this.#keep();
    return action;
  }

  #keep() {
    try {
      sessionStorage.setItem(this.key, JSON.stringify(this.actions.filter((action) => typeof action.seq === "number")));
    } catch {
      // not kept: undo works until the next reload
    }
  }
}
