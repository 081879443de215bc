// What stands above the picture: a reviewer's words about this one, and news of the guidelines.

const $ = (name) => document.querySelector(`[data-part="${name}"]`);

// comment: null when nobody sent it back; reviewers may also send it back without a word.
export function showComment(comment) {
  const box = $("sent-back");
  box.hidden = comment == null;
  if (comment == null) return;
  $("comment-lead").textContent = comment ? "A reviewer asks you to look again:" : "A reviewer asks you to look again.";
  $("comment").textContent = comment;
}

// Which version somebody has read is kept in their browser, by person and project.
export class Guidelines {
  version = null; // in force
  #read;

  constructor(user, project) {
    this.key = `adproof-guidelines-${user}-${project}`;
    this.#read = this.#kept();
    $("guidelines-read").addEventListener("click", () => this.markRead());
    addEventListener("storage", (event) => {
      if (event.key !== this.key) return;
      this.#read = Math.max(this.#read, this.#kept());
      this.#show();
    });
  }

  inForce(version) {
    this.version = version;
    this.#show();
  }

  markRead() {
    this.#read = this.version;
    try {
      localStorage.setItem(this.key, String(this.version));
    } catch {
      // not kept: asked again after a reload
    }
    this.#show();
  }

  #kept() {
    try {
      return Number(localStorage.getItem(this.key)) || 0;
    } catch {
      return 0;
    }
  }

  #show() {
    const isNews = this.version !== null && this.version > this.#read;
    $("guidelines-news").hidden = !isNews;
    if (isNews) $("guidelines-lead").textContent = this.#read ? "The guidelines have changed." : "New here?";
  }
}
