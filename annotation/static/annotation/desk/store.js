// What has not reached the server yet, in IndexedDB: it survives a reload, a crash and a closed tab.
// An entry: {seq, user, verb, body, task, tries}. Entries of one person are sent in the order of seq.

const wait = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

// A place in the order of all that one person did, made without asking the store: by the clock, never the same twice.
let last = 0;
export function newSeq() {
  last = Math.max(last + 1, Date.now() * 1000 + Math.floor(Math.random() * 1000));
  return last;
}

async function openDatabase() {
  const request = indexedDB.open("adproof-desk", 1);
  request.onupgradeneeded = () => {
    request.result.createObjectStore("outbox", { keyPath: "seq", autoIncrement: true }).createIndex("user", "user");
  };
  return wait(request);
}

export async function openStore(user) {
  try {
    return new DiskStore(await openDatabase(), user);
  } catch {
    return new MemoryStore(); // storage is forbidden here: the desk works, and says what is missing
  }
}

class DiskStore {
  isLasting = true;
  constructor(database, user) {
    this.database = database;
    this.user = user;
  }
  // One transaction per call, and nothing awaited in it but its own requests: so each call happens whole.
  #outbox(mode, durability) {
    return this.database.transaction("outbox", mode, { durability }).objectStore("outbox");
  }
  // Begins, writes and commits before it returns, and reads nothing: a browser that closes the tab in the next moment
  // has the write already, and finishes what is committed. "relaxed": it does not wait for the disk, which only a
  // power cut would notice. The promise says when it is kept.
  add(entry) {
    return new Promise((resolve, reject) => {
      const outbox = this.#outbox("readwrite", "relaxed");
      const { transaction } = outbox;
      transaction.oncomplete = resolve;
      transaction.onabort = () => reject(transaction.error);
      outbox.add({ ...entry, user: this.user, tries: 0 });
      transaction.commit?.();
    });
  }
  all() {
    return wait(this.#outbox("readonly", "relaxed").index("user").getAll(this.user));
  }
  remove(seqs) {
    const outbox = this.#outbox("readwrite", "relaxed");
    return Promise.all(seqs.map((seq) => wait(outbox.delete(seq))));
  }
  // The next entries to send, marked as about to be sent in the same transaction: an undo in between can't be lost.
  // choose: which of the first `most`.
  async takeNext(most, choose) {
    const outbox = this.#outbox("readwrite", "strict");
    const chosen = choose(await wait(outbox.index("user").getAll(this.user, most)));
    chosen.forEach((entry) => entry.tries++);
    await Promise.all(chosen.map((entry) => wait(outbox.put(entry))));
    return chosen;
  }
  // True if it was still here and had never been sent: then the server needs to hear of nothing.
  async takeOutUnsent(seq) {
    const outbox = this.#outbox("readwrite", "strict");
    const entry = await wait(outbox.get(seq));
    if (!entry || entry.tries > 0) return false;
    await wait(outbox.delete(seq));
    return true;
  }
}

export class MemoryStore {
  isLasting = false;
  #entries = new Map();
  constructor(entries = []) {
    // Some of them may have been sent already.
    for (const entry of entries) this.#entries.set(entry.seq, { ...entry, tries: 1 });
  }
  async add(entry) {
    this.#entries.set(entry.seq, { ...entry, tries: 0 });
  }
  async all() {
    return [...this.#entries.values()];
  }
  async remove(seqs) {
    seqs.forEach((seq) => this.#entries.delete(seq));
  }
  async takeNext(most, choose) {
    const chosen = choose([...this.#entries.values()].slice(0, most));
    chosen.forEach((entry) => entry.tries++);
    return chosen;
  }
  async takeOutUnsent(seq) {
    const entry = this.#entries.get(seq);
    return Boolean(entry && entry.tries === 0 && this.#entries.delete(seq));
  }
}
