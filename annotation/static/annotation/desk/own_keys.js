// The dialog in which people choose their own keys. Fetched when it is opened for the first time.
import { ApiError, post } from "./api.js";
import { nameOf } from "./keys.js";

const ALONE = new Set(["Shift", "Control", "Alt", "AltGraph", "Meta", "CapsLock", "NumLock", "Dead", "Process", "Unidentified"]);

export class OwnKeys {
  #chosen = {};
  #listening = null; // the action whose key is pressed next

  constructor(dialog, keys, settings, onChange) {
    this.dialog = dialog;
    this.keys = keys;
    this.settings = settings;
    this.onChange = onChange;
    this.rows = dialog.querySelector("[data-part=key-rows]");
    this.said = dialog.querySelector("[data-part=keys-said]");
    this.rows.append(...Object.entries(settings.actions).map(([action, title]) => this.#row(action, title)));
    dialog.querySelector("[data-part=keys-save]").addEventListener("click", () => this.#save(this.#chosen));
    dialog.querySelector("[data-part=keys-usual]").addEventListener("click", () => this.#save({}));
    dialog.addEventListener("keydown", (event) => this.#pressed(event), true);
    // Escape while a key is waited for ends the waiting and not the dialog.
    dialog.addEventListener("cancel", (event) => this.#listening && (event.preventDefault(), this.#listen(null)));
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  }

  open() {
    this.#chosen = { ...this.keys.keys };
    this.#listen(null);
    this.#complain({});
    this.said.textContent = "";
    this.dialog.showModal();
  }

  #row(action, title) {
    const row = document.createElement("li");
    row.dataset.action = action;
    const name = document.createElement("span");
    name.textContent = title;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "button key-button";
    button.setAttribute("aria-describedby", `key-error-${action}`);
    button.addEventListener("click", () => this.#listen(this.#listening === action ? null : action));
    button.addEventListener("blur", () => this.#listening === action && this.#listen(null));
    const error = document.createElement("p");
    error.className = "error-text";
    error.id = `key-error-${action}`;
    row.append(name, button, error);
    return row;
  }

  #listen(action) {
    this.#listening = action;
    for (const row of this.rows.children) {
      const [button, own] = [row.querySelector("button"), row.dataset.action];
      const sign = this.keys.sign(this.#chosen[own]);
      button.textContent = own === action ? "Press a key …" : sign;
      button.classList.toggle("is-listening", own === action);
      const title = this.settings.actions[own];
      button.setAttribute("aria-label", own === action ? `Press the key for ${title}` : `${title}: ${sign}. Change`);
    }
  }

  #pressed(event) {
    if (!this.#listening) return;
    event.stopPropagation();
    if (event.key === "Tab") return; // goes on to the next button; its blur ends the waiting
    event.preventDefault();
    if (event.key === "Escape") return this.#listen(null);
    if (ALONE.has(event.key) || event.repeat) return;
    const action = this.#listening;
    if (event.ctrlKey || event.altKey || event.metaKey) return this.#complain({ [action]: ["One key, without Ctrl, Alt or Cmd."] });
    this.#chosen[action] = nameOf(event);
    this.#complain({});
    this.said.textContent = "Not saved yet.";
    this.#listen(null);
  }

  async #save(chosen) {
    this.said.textContent = "Saving …";
    try {
      const { keys } = await post(this.settings.api, "keys", { keys: chosen });
      this.keys.choose(keys);
      this.onChange();
      this.#chosen = { ...keys };
      this.#listen(null);
      this.#complain({});
      this.said.textContent = "Saved. They are yours on every computer.";
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      const byAction = error.status === 400 ? (error.data.keys ?? {}) : {};
      this.#complain(byAction);
      const isToldThere = Object.keys(byAction).length > 0;
      this.said.textContent = isToldThere ? "Nothing is saved yet: see the keys marked." : `Not saved. ${error.message}`;
    }
  }

  #complain(byAction) {
    for (const row of this.rows.children) {
      const said = byAction[row.dataset.action];
      row.querySelector(".error-text").textContent = said ? [said].flat().join(" ") : "";
      row.classList.toggle("is-wrong", Boolean(said));
    }
    this.rows.querySelector(".is-wrong button")?.focus();
  }
}
