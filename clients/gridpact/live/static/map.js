// The feeder as a picture: homes along their cable, lines by what flows, trades as arcs from seller to buyer.
import { h, s } from "./dom.js";
import { number, word } from "./words.js";

const FEW = 40;

// Where nodes stand: the longest branch goes straight on, others leave it to alternate sides, into the nearest free row.
export function layout(tree, nodes) {
  const children = new Map();
  for (const [node, parent] of Object.entries(tree)) {
    if (!children.has(Number(parent))) children.set(Number(parent), []);
    children.get(Number(parent)).push(Number(node));
  }
  const of = (node) => children.get(node) || [];
  const height = new Map();
  const measure = (node) => {
    const value = 1 + Math.max(0, ...of(node).map(measure));
    height.set(node, value);
    return value;
  };
  measure(0);
  if (height.get(0) <= 2) return circle(nodes);
  const taken = new Map();
  const free = (row, from, to) => (taken.get(row) || []).every(([a, b]) => to < a || from > b);
  const places = new Map();
  const queue = [[0, 0, 0]];
  const claim = (row, from, to) => taken.set(row, [...(taken.get(row) || []), [from, to]]);
  claim(0, 0, height.get(0) - 1);
  while (queue.length) {
    const [node, depth, row] = queue.shift();
    places.set(node, [depth, row]);
    const [heavy, ...others] = of(node).sort((a, b) => height.get(b) - height.get(a) || a - b);
    if (heavy !== undefined) queue.push([heavy, depth + 1, row]);
    for (const other of others) {
      const end = depth + height.get(other);
      let away = 1;
      let found = null;
      while (found === null) {
        const sides = (places.size + away) % 2 ? [row + away, row - away] : [row - away, row + away];
        found = sides.find((one) => free(one, depth, end)) ?? null;
        away += 1;
      }
      claim(found, depth, end);
      queue.push([other, depth + 1, found]);
    }
  }
  return { places, round: false };
}

function circle(nodes) {
  const homes = nodes.filter((node) => node !== 0);
  const radius = Math.max(homes.length / (2 * Math.PI), 1.6);
  const places = new Map([[0, [0, 0]]]);
  homes.forEach((node, k) => {
    const angle = (2 * Math.PI * k) / homes.length - Math.PI / 2;
    places.set(node, [radius * Math.cos(angle), radius * Math.sin(angle)]);
  });
  return { places, round: true };
}

const sum = (values) => values.reduce((a, b) => a + (b || 0), 0);
const furthest = (values) => values.reduce((a, b) => (b !== null && Math.abs(b - 1) > Math.abs((a ?? 1) - 1) ? b : a), values[0] ?? null);

// What flows through a line, kVA; kW where nobody tells the reactive part.
export const sizes = (plan, node) => plan.flow_kw[node].map((p, k) => Math.hypot(p || 0, plan.flow_kvar?.[node]?.[k] || 0));

// What a picture of one moment shows, from the parts of the view; step -1 is the whole day.
export function moment(state, step) {
  const { plan, market, round } = state;
  const dt = round.step_seconds / 3600;
  const at = (series) => (series ? (step < 0 ? sum(series) * dt : series[step]) : null);
  const power = {};
  const voltage = {};
  const load = {};
  const flow = {};
  let most = 0;
  for (const [node, series] of Object.entries(plan?.injection_kw || {})) power[node] = at(series);
  for (const [node, series] of Object.entries(plan?.voltage_pu || {})) voltage[node] = step < 0 ? furthest(series) : series[step];
  for (const [node, series] of Object.entries(plan?.flow_kw || {})) {
    const size = sizes(plan, node);
    most = Math.max(most, ...size);
    load[node] = step < 0 ? Math.max(...size) : size[step];
    flow[node] = step < 0 ? sum(series) : series[step];
  }
  const trades = [];
  for (const { lower, higher, steps } of market?.trades || []) {
    const wh = steps.reduce((total, [k, energy]) => total + (step < 0 || k === step ? energy : 0), 0);
    const both = steps.reduce((total, [k, energy]) => total + (step < 0 || k === step ? Math.abs(energy) : 0), 0);
    if (both) trades.push({ from: wh >= 0 ? lower : higher, to: wh >= 0 ? higher : lower, kwh: Math.abs(wh) / 1000, lower, higher });
  }
  return { power, voltage, load, flow, most, trades };
}

const level = (share) => Math.max(0, Math.min(4, Math.floor(share * 5)));

// The lines that the operator has published for the round; else those that the community's files have.
function treeOf({ plan, status }) {
  const known = Object.keys(status.tree || {}).length ? status.tree : null;
  return plan?.flow_kw ? plan.tree : known || plan?.tree || {};
}

export function draw(place, state, options) {
  const { plan, round, status } = state;
  const { mode, step, chosen, choose, name } = options;
  const nodes = round.homes.map((home) => home.node);
  const tree = treeOf(state);
  const ratings = status.rating_kva || {};
  const { places, round: isRound } = layout(tree, nodes);
  for (const node of nodes) if (!places.has(node)) places.set(node, [places.size, isRound ? 0 : 3]);
  const xs = [...places.values()].map(([x]) => x);
  const spread = Math.max(...xs) - Math.min(...xs);
  const upright = !isRound && place.clientWidth < 640 && spread > 6;
  const many = nodes.length > FEW;
  const [along, across] = isRound ? [46, 46] : many ? [40, 44] : [62, 71];
  const at = (node) => {
    const [x, y] = places.get(node);
    return upright ? [y * across, x * Math.min(along, 50)] : [x * along, y * across];
  };
  const now = moment(state, step);
  const arcs = mode === "trades" ? now.trades.filter((trade) => places.has(trade.from) && places.has(trade.to)) : [];
  const middle = (trade) => top(at(trade.from), at(trade.to), isRound);
  const points = [...nodes.map(at), ...arcs.map((trade) => half(at(trade.from), middle(trade), at(trade.to)))];
  const pad = 48;
  const [left, upper] = [0, 1].map((k) => Math.min(...points.map((p) => p[k])) - pad);
  const [width, height] = [Math.max(...points.map((p) => p[0])) - left + pad, Math.max(...points.map((p) => p[1])) - upper + pad];
  const homes = new Map(round.homes.map((home) => [home.node, home]));
  const picture = s("svg", { viewBox: `${left} ${upper} ${width} ${height}`, role: "group", "aria-label": `${word("mapLabel", { n: nodes.length - (nodes.includes(0) ? 1 : 0) })}. ${word("mapKeys")}`, class: `${mode} ${upright ? "upright" : ""}` });
  picture.style.maxHeight = `${Math.max(height * 1.25, 220)}px`;
  picture.style.minWidth = `${Math.min(width * 0.62, 2400)}px`; // homes stay readable: what is wider is scrolled

  const lines = s("g", { class: "lines" });
  for (const [node, parent] of Object.entries(tree)) {
    if (!places.has(Number(node)) || !places.has(Number(parent))) continue;
    const [a, b] = [at(Number(parent)), at(Number(node))];
    const share = now.most ? now.load[node] / now.most : 0;
    const path = bend(a, b, upright);
    const shown = mode === "power" && node in now.load;
    const full = node in ratings ? now.load[node] / ratings[node] : null; // by day, the most of it
    const colour = full === null ? `load-${level(share)}` : full > 1 ? "over" : `load-${level(full)}`;
    lines.append(s("path", { d: path, class: shown ? `line ${colour}` : "line", "stroke-width": shown ? 2 + 7 * share : 2.5 },
      shown && full !== null ? s("title", {}, `${number(100 * full)} %`) : null));
    if (shown && Math.abs(now.flow[node]) > 0.02 * now.most) lines.append(arrow(a, b, now.flow[node] > 0, share, upright));
  }
  picture.append(lines);

  const most = Math.max(...arcs.map((trade) => trade.kwh), 0.001);
  const own = (trade) => chosen === null || trade.from === chosen || trade.to === chosen;
  picture.append(s("defs", {}, arcs.map((trade) => gradient(trade, at))), s("g", { class: "arcs" },
    arcs.sort((a, b) => a.kwh - b.kwh).map((trade) => arc(at(trade.from), middle(trade), at(trade.to), trade, most, own(trade), name))));

  for (const node of nodes) {
    const [x, y] = at(node);
    const home = homes.get(node);
    const group = s("g", {
      transform: `translate(${x} ${y})${many ? " scale(0.78)" : ""}`, class: `home ${look(node, mode, now, plan)} ${home.state} ${chosen === node ? "chosen" : ""}`,
      tabindex: node === (chosen ?? nodes[0]) ? 0 : -1, role: "button", "aria-pressed": chosen === node ? "true" : "false", "data-node": node,
      "aria-label": describe(node, now, mode, step, name, status.phases?.[node]),
      onclick: () => choose(node), onkeydown: (event) => {
        const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
        if (event.key !== "Enter" && event.key !== " " && !by) return;
        event.preventDefault();
        if (by) go(place, nodes[(nodes.indexOf(node) + by + nodes.length) % nodes.length]);
        else choose(node);
      },
    });
    group.append(s("title", {}, describe(node, now, mode, step, name, status.phases?.[node])));
    if (node === 0) group.append(s("rect", { x: -15, y: -15, width: 30, height: 30, rx: 6 }), s("path", { d: "M3 -9-6 2h5l-2 8 9-12h-5z", class: "bolt" }));
    else group.append(s("path", { d: "M-15-2 0-16 15-2V14H-15z" }), s("text", { y: 8 }, String(node)));
    const figure = caption(node, mode, now, step);
    if (figure && (!many || node === chosen)) group.append(s("text", { y: 29, class: "figure" }, figure));
    const phases = status.phases?.[node];
    if (phases && phases.length < 3 && (!many || node === chosen)) group.append(s("text", { x: 18, y: -6, class: "figure phase" }, `L${phases.join("+")}`));
    picture.append(group);
  }
  const focused = place.querySelector("g.home:focus")?.dataset.node;
  place.replaceChildren(picture);
  if (focused !== undefined) go(place, focused);
}

const go = (place, node) => place.querySelector(`g.home[data-node="${CSS.escape(String(node))}"]`)?.focus();

const bend = ([x1, y1], [x2, y2], upright) => (upright
  ? `M${x1} ${y1}Q${x2} ${y1 + (y2 - y1) * 0.2} ${x2} ${y2}`
  : `M${x1} ${y1}Q${x1 + (x2 - x1) * 0.2} ${y2} ${x2} ${y2}`);

function arrow([x1, y1], [x2, y2], towardsRoot, share, upright) {
  const angle = (Math.atan2(y2 - y1, x2 - x1) * 180) / Math.PI + (towardsRoot ? 180 : 0);
  const size = 4 + 4 * share;
  const [cx, cy] = upright ? [x2, y1 + (y2 - y1) * 0.2] : [x1 + (x2 - x1) * 0.2, y2]; // as `bend` has it
  const [x, y] = half([x1, y1], [cx, cy], [x2, y2]);
  return s("path", { d: `M${size} 0L${-size} ${-size}V${size}z`, class: "arrow", transform: `translate(${x} ${y}) rotate(${angle})` });
}

function gradient(trade, at) {
  const [[x1, y1], [x2, y2]] = [at(trade.from), at(trade.to)];
  return s("linearGradient", { id: `t${trade.lower}-${trade.higher}`, gradientUnits: "userSpaceOnUse", x1, y1, x2: x2 + 0.01, y2: y2 + 0.01 },
    s("stop", { offset: 0, class: "seller" }), s("stop", { offset: 1, class: "buyer" }));
}

// The top of an arc: to the left of who sells, looking at who buys, so that the two directions lie apart.
function top([x1, y1], [x2, y2], isRound) {
  const [dx, dy] = [x2 - x1, y2 - y1];
  const length = Math.hypot(dx, dy) || 1;
  const lift = isRound ? 0.12 * length : Math.min(0.36 * length + 12, 190);
  return [(x1 + x2) / 2 + (dy / length) * lift, (y1 + y2) / 2 - (dx / length) * lift];
}

const half = ([x1, y1], [cx, cy], [x2, y2]) => [(x1 + 2 * cx + x2) / 4, (y1 + 2 * cy + y2) / 4];

function arc([x1, y1], [cx, cy], [x2, y2], trade, most, own, name) {
  const share = trade.kwh / most;
  return s("path", {
    d: `M${x1} ${y1}Q${cx} ${cy} ${x2} ${y2}`, stroke: `url(#t${trade.lower}-${trade.higher})`,
    "stroke-width": 1 + 9 * share, "stroke-opacity": own ? 0.35 + 0.55 * share : 0.05, class: "arc",
  }, s("title", {}, `${name(trade.from)} → ${name(trade.to)}: ${number(trade.kwh, 2)} kWh`));
}

function look(node, mode, now, plan) {
  if (mode === "voltage") {
    const v = now.voltage[node];
    if (v === undefined || v === null) return "plain";
    const [low, high] = plan.limits_pu || [0.9, 1.1];
    if (v < low || v > high) return "beyond";
    const share = v < 1 ? (1 - v) / (1 - low) : (v - 1) / (high - 1);
    return `${v < 1 ? "below" : "above"}-${Math.min(3, Math.floor(share * 4))}`;
  }
  const value = mode === "trades" ? traded(node, now) : now.power[node];
  return Math.abs(value || 0) < 0.005 ? "plain" : value > 0 ? "gives" : "takes";
}

const traded = (node, now) => now.trades.reduce((total, trade) => total + (trade.from === node ? trade.kwh : trade.to === node ? -trade.kwh : 0), 0);

function caption(node, mode, now, step) {
  if (mode === "voltage") return now.voltage[node] ? number(now.voltage[node], 3) : "";
  const value = mode === "trades" ? traded(node, now) : now.power[node];
  if (value === undefined || value === null || Math.abs(value) < 0.005) return "";
  return number(value, Math.abs(value) < 10 ? 1 : 0, { signDisplay: "exceptZero" });
}

function describe(node, now, mode, step, name, phases) {
  const unit = mode === "trades" || step < 0 ? "kWh" : "kW";
  const value = mode === "trades" ? traded(node, now) : now.power[node];
  const parts = [name(node), ...(phases ? [`L${phases.join("+")}`] : [])];
  if (mode === "voltage" && now.voltage[node]) parts.push(`${number(now.voltage[node], 4)} p.u.`);
  else if (value) parts.push(`${word(mode === "trades" ? (value > 0 ? "sells" : "buys") : (value > 0 ? "gives" : "takes"))} ${number(Math.abs(value), 2)} ${unit}`);
  return parts.join(", ");
}
