// A person's own figures, from the server: asked for now and then, never on the way of a label.
import { get } from "./api.js";

const EVERY_MS = 10 * 60000;

const $ = (name) => document.querySelector(`[data-part="${name}"]`);

export function keepFigures(base, onPace) {
  const ask = async () => {
    if (document.hidden) return;
    try {
      const from = new Date();
      from.setHours(0, 0, 0, 0);
      const figures = await get(base, `me?today_from=${encodeURIComponent(from.toISOString())}`);
      show("agreement", figures.agreement);
      show("known", figures.known);
      if (figures.median_seconds !== null) onPace(figures.median_seconds);
    } catch {
      // without a connection the last ones stay
    }
  };
  setInterval(ask, EVERY_MS);
  return ask();
}

function show(name, figure) {
  $(`${name}-box`).hidden = figure === null;
  if (figure === null) return;
  $(name).textContent = `${Math.round(figure.share * 100)}%`;
  $(`${name}-box`).title = `${$(`${name}-box`).dataset.title} Of ${figure.of.toLocaleString()} answers.`;
}
