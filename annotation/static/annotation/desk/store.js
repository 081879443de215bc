// What has not reached the server yet, in IndexedDB: it survives a reload, a crash and a closed tab.
// An entry: {seq, user, verb, body, task, tries}. Entries of one person are sent in the order of seq.

const wait = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

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
  #outbox(mode) {
    return this.database.transaction("outbox", mode, { durability: "strict" }).objectStore("outbox");
  }
  add(entry) {
    return wait(this.#outbox("readwrite").add({ ...entry, user: this.user, tries: 0 }));
  }
  all() {
    return wait(this.#outbox("readonly").index("user").getAll(this.user));
  }
  remove(seqs) {
    const outbox = this.#outbox("readwrite");
    return Promise.all(seqs.map((seq) => wait(outbox.delete(seq))));
  }
  // Mark as about to be sent; returns those that are still there (an undo may have taken one out meanwhile).
  async markTried(entries) {
    const outbox = this.#outbox("readwrite");
    const found = await Promise.all(entries.map((entry) => wait(outbox.get(entry.seq))));
    const there = found.filter(Boolean).map((entry) => ({ ...entry, tries: entry.tries + 1 }));
    await Promise.all(there.map((entry) => wait(outbox.put(entry))));
    return there;
  }
  // True if it was still here and had never been sent: then the server needs to hear of nothing.
  async takeOutUnsent(seq) {
    const outbox = this.#outbox("readwrite");
    const entry = await wait(outbox.get(seq));
    if (!entry || entry.tries > 0) return false;
    await wait(outbox.delete(seq));
    return true;
  }
}

class MemoryStore {
  isLasting = false;
  #entries = new Map();
  #next = 1;
  async add(entry) {
    const seq = this.#next++;
    this.#entries.set(seq, { ...entry, seq, tries: 0 });
    return seq;
  }
  async all() {
    return [...this.#entries.values()];
  }
  async remove(seqs) {
    seqs.forEach((seq) => this.#entries.delete(seq));
  }
  async markTried(entries) {
    const there = entries.map(({ seq }) => this.#entries.get(seq)).filter(Boolean);
    there.forEach((entry) => entry.tries++);
    return there;
  }
  async takeOutUnsent(seq) {
    const entry = this.#entries.get(seq);
    return Boolean(entry && entry.tries === 0 && this.#entries.delete(seq));
  }
}
