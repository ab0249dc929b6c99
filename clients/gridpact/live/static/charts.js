// Charts by uPlot. Colours come from the style sheet, so they follow light and dark.
/* global uPlot */
import { number } from "./words.js";

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const FONT = "12px system-ui, sans-serif";

const axis = (more = {}) => ({
  stroke: () => colour("--soft"), font: FONT, grid: { stroke: () => colour("--line"), width: 1 },
  ticks: { stroke: () => colour("--line"), width: 1, size: 4 }, ...more,
});

// One chart in a place: made anew where its form changes, else only told new data.
export class Chart {
  constructor(place, height = 250) {
    this.place = place;
    this.height = height;
    this.form = "";
    this.plot = null;
    new ResizeObserver(() => this.plot && this.plot.setSize(this.size())).observe(place);
  }

  size() {
    return { width: Math.max(this.place.clientWidth, 240), height: this.height };
  }

  show(form, data, options, label) {
    this.place.hidden = !data;
    if (!data) return;
    if (this.form !== form || !this.plot) {
      if (this.plot) this.plot.destroy();
      this.place.replaceChildren();
      this.plot = new uPlot({ ...this.size(), ...options, ms: 1 }, data, this.place);
      this.form = form;
    } else {
      this.plot.setData(data);
    }
    if (options.ends && !(this.plot.cursor.left >= 0)) requestAnimationFrame(() => this.plot.setLegend({ idx: data[0].length - 1 })); // the newest
    this.place.setAttribute("role", "img");
    this.place.setAttribute("aria-label", label);
  }

  redraw() {
    if (this.plot) this.plot.redraw(false, true);
  }
}

const line = (label, name, more = {}) => ({
  label, stroke: () => colour(name), width: 2, points: { show: false },
  value: (_, v) => (v === null || v === undefined ? "–" : number(v, v < 10 ? 2 : 0)), ...more,
});

// Residuals over iterations, each as a multiple of its limit, on a log scale.
export function agreementOptions(labels, used, xLabel, limitLabel) {
  const names = ["--c1", "--c2", "--c3", "--c4"];
  const dashes = [[], [7, 4], [], [7, 4]];
  return {
    scales: { x: { time: false }, y: { distr: 3, range: (_, low, high) => [Math.min(low || 0.5, 0.5) / 1.3, Math.max(high || 2, 2) * 1.3] } },
    axes: [axis({ size: 30, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000] }),
      axis({ size: 48, values: (_, ticks) => ticks.map((v) => (v === null || !/^[15]/.test(v.toExponential()) ? "" : number(v, v < 1 ? 1 : 0))) })],
    series: [{ label: xLabel }, ...used.map((k) => line(labels[k], names[k], { dash: dashes[k] }))],
    ends: true,
    hooks: { draw: [(u) => {
      const y = u.valToPos(1, "y", true);
      const { left, width } = u.bbox;
      const c = u.ctx;
      c.save();
      c.strokeStyle = colour("--ink");
      c.fillStyle = colour("--ink");
      c.lineWidth = 1.5 * devicePixelRatio;
      c.setLineDash([]);
      c.beginPath();
      c.moveTo(left, y);
      c.lineTo(left + width, y);
      c.stroke();
      c.font = `${12 * devicePixelRatio}px system-ui, sans-serif`;
      c.textAlign = "left";
      c.fillText(limitLabel, left + 6 * devicePixelRatio, y - 5 * devicePixelRatio);
      c.restore();
    }] },
  };
}

const hours = (_, ticks) => ticks.map((t) => `${String(Math.floor(t)).padStart(2, "0")}:${String(Math.round((t % 1) * 60)).padStart(2, "0")}`);
const dayAxis = () => axis({ size: 30, values: hours, incrs: [0.25, 0.5, 1, 2, 3, 4, 6, 12, 24] });
const stepped = () => uPlot.paths.stepped({ align: 1 });

// Prices by step: the supplier's two as steps, between them what neighbours paid (least, mean, most).
export function priceOptions(words) {
  return {
    scales: { x: { time: false } },
    axes: [dayAxis(), axis({ size: 52, values: (_, ticks) => ticks.map((v) => number(v, 2)) })],
    series: [{ label: words.hour, value: (_, v) => (v === null ? "–" : hours(_, [v])[0]) },
      line(words.importPrice, "--take", { paths: stepped(), width: 2.5 }),
      line(words.feedIn, "--give", { paths: stepped(), width: 2.5, dash: [7, 4] }),
      line(words.tradePrice, "--ok", { paths: () => null, points: { show: true, size: 8, fill: () => colour("--ok") } })],
    hooks: { draw: [(u) => {
      const [low, high] = [u.ranges?.low, u.ranges?.high];
      if (!low) return;
      const c = u.ctx;
      c.save();
      c.strokeStyle = colour("--ok");
      c.lineWidth = 2 * devicePixelRatio;
      low.forEach((value, k) => {
        if (value === null) return;
        const x = u.valToPos(u.data[0][k], "x", true);
        c.beginPath();
        c.moveTo(x, u.valToPos(value, "y", true));
        c.lineTo(x, u.valToPos(high[k], "y", true));
        c.stroke();
      });
      c.restore();
    }] },
  };
}

// A household's day: its meter, and what stands behind it.
export function householdOptions(words) {
  const names = ["--ink", "--c3", "--c4", "--c1", "--ok"];
  const dashes = [[], [4, 3], [8, 4], [], [2, 2]];
  return {
    scales: { x: { time: false } },
    axes: [dayAxis(), axis({ size: 64, values: (_, ticks) => ticks.map((v) => `${number(v, Number.isInteger(v) ? 0 : 1)} kW`) })],
    series: [{ label: words[0], value: (_, v) => (v === null ? "–" : hours(_, [v])[0]) },
      ...words.slice(1).map((label, k) => line(label, names[k], { paths: stepped(), width: k ? 1.8 : 2.8, dash: dashes[k] }))],
  };
}

// Power of all homes together: agreed, and as the meters read.
export function dayOptions(words) {
  return {
    scales: { x: { time: false } },
    axes: [dayAxis(), axis({ size: 64, values: (_, ticks) => ticks.map((v) => `${number(v, Number.isInteger(v) ? 0 : 1)} kW`) })],
    series: [{ label: words[0], value: (_, v) => (v === null ? "–" : hours(_, [v])[0]) },
      line(words[1], "--soft", { paths: stepped(), width: 2, dash: [6, 4] }),
      line(words[2], "--c1", { paths: stepped(), width: 2.5 })],
  };
}
