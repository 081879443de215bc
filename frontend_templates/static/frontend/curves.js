// Draws the curves of a run from its metrics.json, and again while the run is unfinished.
// Series of one family share a chart: "loss" and "validation_loss" are both about the loss.
const REFRESH_MS = 3000;
const FAMILY = /^(train|validation|test)_/;
const COLOURS = ["--accent", "--label-2-fill", "--label-1-fill", "--label-3-fill"];

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const short = (value) => (Math.abs(value) >= 1e-3 ? Number(value.toPrecision(3)).toString() : value.toExponential(1));

function families(series) {
  const found = new Map();
  for (const name of Object.keys(series)) {
    const family = name.replace(FAMILY, "");
    found.set(family, [...(found.get(family) ?? []), name]);
  }
  return found;
}

function makeChart(here, family) {
  const figure = document.createElement("figure");
  figure.className = "curve";
  const caption = document.createElement("figcaption");
  caption.className = "small muted";
  const box = document.createElement("div");
  box.className = "curve-box";
  const canvas = document.createElement("canvas");
  canvas.setAttribute("role", "img");
  box.append(canvas);
  figure.append(caption, box);
  here.append(figure);
  const chart = new window.Chart(canvas, {
    type: "line",
    data: { datasets: [] },
    options: {
      animation: false,
      maintainAspectRatio: false,
      parsing: false,
      interaction: { mode: "nearest", axis: "x", intersect: false },
      elements: { point: { radius: 0, hitRadius: 8 }, line: { borderWidth: 2, tension: 0.2 } },
      scales: { x: { type: "linear", ticks: { maxTicksLimit: 6 } }, y: { ticks: { maxTicksLimit: 5 } } },
      plugins: { legend: { labels: { boxWidth: 12, boxHeight: 2 } } },
    },
  });
  return { chart, caption, canvas, family };
}

function paint({ chart }) {
  const text = colour("--text-2");
  for (const axis of Object.values(chart.options.scales)) {
    axis.ticks.color = text;
    axis.grid = { color: colour("--line") };
    axis.border = { display: false };
  }
  chart.options.plugins.legend.labels.color = text;
  chart.options.font = { family: colour("--font") };
  chart.data.datasets.forEach((dataset, index) => {
    dataset.borderColor = colour(COLOURS[index % COLOURS.length]);
  });
  chart.update();
}

function show(drawn, names, series) {
  drawn.chart.data.datasets = names.map((name) => ({
    label: name.replaceAll("_", " "),
    data: series[name].map(([x, y]) => ({ x, y })),
  }));
  drawn.chart.options.plugins.legend.display = names.length > 1;
  const last = names.map((name) => `${name.replaceAll("_", " ")} ${short(series[name].at(-1)[1])}`).join(", ");
  const step = series[names[0]].at(-1)[0];
  drawn.caption.textContent = `${last} at step ${step.toLocaleString("en")}`;
  drawn.canvas.setAttribute("aria-label", `Curve of ${drawn.family.replaceAll("_", " ")}: ${drawn.caption.textContent}`);
  paint(drawn);
}

function start(section) {
  const here = section.querySelector("[data-curves-here]");
  const empty = section.querySelector("[data-curves-empty]");
  const charts = new Map();

  async function refresh() {
    let finished = false;
    try {
      const response = await fetch(section.dataset.curves);
      if (response.ok) {
        const answer = await response.json();
        finished = answer.finished;
        for (const [family, names] of families(answer.series)) {
          if (!charts.has(family)) charts.set(family, makeChart(here, family));
          show(charts.get(family), names, answer.series);
        }
        empty.hidden = charts.size > 0;
        if (finished && !charts.size) section.hidden = true;
      }
    } catch {
      // the server is away for a moment: ask again
    }
    if (!finished) setTimeout(refresh, REFRESH_MS);
  }
  refresh();
  addEventListener("themechange", () => charts.forEach(paint));
}

document.querySelectorAll("[data-curves]").forEach(start);
