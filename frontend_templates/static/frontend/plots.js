// Draws the plots of a page. The numbers are those of the table under each plot; a row's first cell names it.
const FONT = 12;
const root = document.documentElement;
const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();
const SHOWN = {
  "": (value) => Math.round(value).toLocaleString("en"),
  "%": (value) => `${Number((value * 100).toFixed(1))}%`,
  s: (value) => `${Number(value.toFixed(1))} s`,
  "0.00": (value) => value.toFixed(2),
};

// {rows: [{title, tick}], series: [{title, colour, dashed, unit, values}]}
function read(table) {
  const heads = [...table.tHead.rows[0].cells];
  const drawn = [...table.tBodies[0].rows].filter((row) => !("undrawn" in row.dataset));
  const number = (cell) => (cell.dataset.value === "" ? null : Number(cell.dataset.value));
  return {
    rows: drawn.map(({ cells: [head] }) => ({ title: head.textContent, tick: head.dataset.tick ?? head.textContent })),
    series: heads
      .map((head, column) => ({ head, column }))
      .filter(({ head }) => head.dataset.colour)
      .map(({ head, column }) => ({
        title: head.textContent,
        colour: head.dataset.colour,
        dashed: "dashed" in head.dataset,
        unit: head.dataset.unit,
        values: drawn.map((row) => number(row.cells[column])),
      })),
  };
}

function dataset(series, kind) {
  const shared = { label: series.title, data: series.values };
  if (kind === "interval") return { ...shared, type: "line", showLine: false, pointRadius: 6, pointHoverRadius: 7 };
  if (kind !== "line") return { ...shared, maxBarThickness: 28, borderRadius: 3, categoryPercentage: 0.8, barPercentage: 0.9 };
  const alone = series.values.filter((value) => value !== null).length < 3;
  return {
    ...shared, borderWidth: series.dashed ? 1.5 : 2.5, borderDash: series.dashed ? [5, 4] : [], tension: 0.2,
    spanGaps: true, pointRadius: alone ? 4 : series.dashed ? 0 : 2.5, pointHitRadius: 10,
  };
}

// Three columns: a value and the ends of its interval, drawn as a point on a bar. (The high end has no mark of its own.)
function intervals(sets, [, low, high]) {
  const [points, bar, end] = sets;
  bar.type = "bar";
  bar.data = low.values.map((value, place) => [value, high.values[place]]);
  Object.assign(bar, { barThickness: 5, borderRadius: 3, borderSkipped: false });
  Object.assign(end, { pointRadius: 0, pointHoverRadius: 0 });
  return [points, bar, end];
}

// "the table shows through" is read better in two lines than cut off.
function folded(text, most) {
  const lines = [""];
  for (const word of text.split(" ")) {
    const line = lines.at(-1);
    if (line && line.length + word.length >= most) lines.push(word);
    else lines[lines.length - 1] = line ? `${line} ${word}` : word;
  }
  return lines;
}

function options(kind, { rows, series }, box) {
  const across = kind === "across" || kind === "interval";
  const unit = series[0].unit;
  const narrow = box.clientWidth < 420;
  const value = {
    beginAtZero: true,
    grace: kind === "line" ? "10%" : 0,
    suggestedMax: kind === "interval" || (across && unit === "%") ? undefined : 1,
    max: unit === "%" && kind !== "line" && series.some(({ values }) => Math.max(...values) > 0.6) ? 1 : undefined,
    border: { display: false },
    grid: {},
    ticks: { maxTicksLimit: 5, callback: SHOWN[unit] ?? SHOWN[""], ...(unit === "" ? { precision: 0 } : {}) },
  };
  const names = {
    grid: { display: false },
    offset: true,
    ticks: across
      ? { autoSkip: false, callback: (_, place) => folded(rows[place].tick, narrow ? 14 : 24) }
      : { maxRotation: 0, autoSkipPadding: 14, callback: (_, place) => rows[place].tick },
  };
  return {
    animation: false,
    maintainAspectRatio: false,
    indexAxis: across ? "y" : "x",
    interaction: { mode: "index", axis: across ? "y" : "x", intersect: false },
    scales: across ? { x: value, y: names } : { x: names, y: value },
    plugins: {
      legend: { display: series.length > 1 && kind !== "interval", align: "start", labels: { boxWidth: 14, boxHeight: kind === "line" ? 2 : 10, padding: 12 } },
      tooltip: {
        callbacks: {
          title: ([item]) => rows[item.dataIndex].title,
          label: (item) => {
            const { title, unit, values } = series[item.datasetIndex];
            return ` ${title}: ${SHOWN[unit](values[item.dataIndex])}`;
          },
        },
      },
    },
  };
}

function paint({ chart, data }) {
  const text = colour("--text-2");
  const { options } = chart.config;
  for (const scale of Object.values(options.scales)) {
    Object.assign(scale.ticks, { color: text, font: { size: FONT } });
    scale.grid.color = colour("--line");
  }
  Object.assign(options.plugins.legend.labels, { color: text, font: { size: FONT } });
  Object.assign(options.plugins.tooltip, {
    backgroundColor: colour("--text"), titleColor: colour("--bg"), bodyColor: colour("--bg"), padding: 10, cornerRadius: 6,
  });
  chart.data.datasets.forEach((set, index) => {
    set.backgroundColor = set.borderColor = colour(data.series[index].colour);
  });
  chart.update();
}

// Arrow keys go from value to value; what is shown is read out.
function readByKeys({ chart, data, canvas, spoken }) {
  let at = -1;
  const show = () => {
    const here = data.series.map((_, datasetIndex) => ({ datasetIndex, index: at }));
    const active = at < 0 ? [] : here.filter(({ datasetIndex }) => data.series[datasetIndex].values[at] !== null);
    chart.setActiveElements(active);
    chart.tooltip.setActiveElements(active, { x: 0, y: 0 });
    chart.update();
    const said = active.map(({ datasetIndex }) => {
      const { title, unit, values } = data.series[datasetIndex];
      return `${title} ${SHOWN[unit](values[at])}`;
    });
    spoken.textContent = at < 0 ? "" : `${data.rows[at].title}: ${said.join(", ") || "nothing"}`;
  };
  canvas.addEventListener("keydown", (event) => {
    const last = data.rows.length - 1;
    const steps = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at < 0 ? last : at - 1, ArrowUp: at < 0 ? last : at - 1, Home: 0, End: last };
    if (!(event.key in steps)) return;
    event.preventDefault();
    at = Math.max(0, Math.min(last, steps[event.key]));
    show();
  });
  canvas.addEventListener("blur", () => {
    at = -1;
    show();
  });
}

function draw(box) {
  const data = read(document.getElementById(box.dataset.table));
  const kind = box.dataset.plot;
  const canvas = document.createElement("canvas");
  canvas.tabIndex = 0;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `${box.dataset.title}. Arrow keys read the values; they are also in the table below.`);
  const spoken = document.createElement("p");
  spoken.className = "visually-hidden";
  spoken.setAttribute("aria-live", "polite");
  if (kind === "across") box.style.height = `${70 + data.rows.length * (18 + 16 * data.series.length)}px`;
  if (kind === "interval") box.style.height = `${60 + data.rows.length * 44}px`;
  box.append(canvas, spoken);
  const sets = data.series.map((series) => dataset(series, kind));
  const chart = new window.Chart(canvas, {
    type: kind === "line" ? "line" : "bar",
    data: { labels: data.rows.map(({ tick }) => tick), datasets: kind === "interval" ? intervals(sets, data.series) : sets },
    options: options(kind, data, box),
  });
  const drawn = { chart, data, canvas, spoken };
  paint(drawn);
  readByKeys(drawn);
  return drawn;
}

if (window.Chart) {
  window.Chart.defaults.font.family = colour("--font");
  const drawn = [...document.querySelectorAll("[data-plot]")].map(draw);
  const again = () => drawn.forEach(paint);
  addEventListener("themechange", again);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
}
