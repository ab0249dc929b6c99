// The page: what the server tells by Server-sent events, put on the screen. Nothing is sent, nothing comes from elsewhere.
import { $, h, put, s, table } from "./dom.js";
import { Chart, agreementOptions, dayOptions, householdOptions, priceOptions } from "./charts.js";
import { householdCard } from "./household.js";
import { draw, sizes } from "./map.js";
import { LANGUAGES, clock, dayText, duration, known, number, speak, word } from "./words.js";

const state = { status: {}, rounds: [], round: null, plan: null, market: null, day: null, household: null };
const view = { number: null, mode: null, step: -1, chosen: null, lost: false, playing: null, offset: 0 };
const charts = { agreement: new Chart($("#agreement .chart"), 330), prices: new Chart($("#prices .chart")), day: new Chart($("#day .chart")), household: new Chart($("#household .chart"), 240) };
const PARTS = Object.keys(state);
const SUPPLIER = 255; // among the parties of spot trades, options and forwards
const FINAL = ["converged", "exhausted", "abandoned"];

// ------------------------------------------------------------------ what is told

let source = null;

function listen() {
  if (source) source.close();
  source = new EventSource(view.number === null ? "events" : `events?round=${view.number}`);
  for (const part of PARTS) {
    source.addEventListener(part, (event) => {
      state[part] = JSON.parse(event.data);
      if (part === "status") view.offset = state.status.ahead;
      soon(part);
    });
  }
  source.addEventListener("fault", (event) => { put($("#alert"), JSON.parse(event.data)); });
  source.onopen = () => { view.lost = false; soon("status"); };
  source.onerror = () => { view.lost = true; soon("status"); };
}

const waiting = new Set();

function soon(part) {
  if (!waiting.size) requestAnimationFrame(() => { const parts = new Set(waiting); waiting.clear(); show(parts); });
  waiting.add(part);
}

function show(parts) {
  const has = (...names) => names.some((name) => parts.has(name));
  if (has("status", "rounds")) { showStatus(); showHistory(); }
  if (!state.round) { showNothing(); return; }
  $("main").classList.remove("empty");
  if (has("status", "round", "market", "day")) { showHero(); showTiles(); }
  if (has("status", "round", "plan")) { put($("#public .is"), word(state.round.sealed ? "publicSealed" : "publicIs"), state.plan?.own ? ` ${word("mapOwn")}` : ""); showAgreement(); showHomes(); showGas(); showHappened(); }
  if (has("status", "plan", "market") || (has("round") && changedHomes())) showMap();
  if (has("status", "market")) showPrices();
  if (has("status", "plan", "day")) showDay();
  if (has("status", "market", "day", "plan")) showMoney();
  if (has("status", "household", "round", "market", "day")) showHousehold();
}

let homesBefore = "";

function changedHomes() {
  const homes = state.round.homes.map((home) => home.node + home.state).join();
  const changed = homes !== homesBefore && !state.plan;
  homesBefore = homes;
  return changed;
}

// ------------------------------------------------------------------ words for what is told

const name = (node) => {
  if (Number(node) === 0) return word("operator");
  if (Number(node) === SUPPLIER) return word("colSupplier");
  return state.status.names?.[node] || word("home", { n: node });
};

function listed(nodes) {
  const shown = nodes.slice(0, 5).map(name);
  return nodes.length <= 5 ? shown.join(", ") : word("andMore", { list: shown.join(", "), n: nodes.length - 5 });
}

const money = (units, digits = 2, options = {}) => number(Number(units) / 10 ** (state.status.currency?.decimals || 0), digits, options);
const signed = { signDisplay: "exceptZero" };
const symbol = () => state.status.currency?.symbol || "";
const homesOnly = (round) => round.homes.filter((home) => home.node !== 0);
const now = () => Date.now() / 1000 + view.offset;
// A round may be about the rest of a day only.
const dated = (one) => (one.first && state.round ? word("fromTime", { day: dayText(one.day), time: timeOf(one.first) }) : dayText(one.day));
const timeOf = (step) => {
  const minutes = Math.round((step * state.round.step_seconds) / 60);
  return `${String(Math.floor(minutes / 60)).padStart(2, "0")}:${String(minutes % 60).padStart(2, "0")}`;
};

// Who is waited for longer than is usual here: three seconds, or three times what an iteration takes.
function lateNodes() {
  const round = state.round;
  if (!["declaring", "iterating"].includes(round.phase) || !["up", "reading"].includes(state.status.link)) return [];
  const awaited = round.homes.filter((home) => home.state === "awaited").map((home) => home.node);
  const done = round.iterations.length;
  const usual = done > 1 ? (round.iterations[done - 1][1] - round.started) / done : 4;
  const patience = round.phase === "declaring" ? 15 : Math.max(3, 3 * usual);
  if (now() - round.since < patience) return [];
  const others = awaited.filter((node) => !(node === 0 && round.star));
  return others.length ? others : awaited;
}

function worst(round) {
  const last = round.iterations.at(-1)?.[3] || [];
  return last.length ? Math.max(...last.map((rms, k) => rms / round.limits_w[k])) : null;
}

// ------------------------------------------------------------------ head of the page

function showStatus() {
  const { status } = state;
  const link = view.lost ? "lost" : status.link || "waiting";
  const text = word(`link${link[0].toUpperCase()}${link.slice(1)}`, { told: status.told, block: status.block === null ? "–" : number(status.block) });
  const pill = $("#link");
  pill.className = link;
  put(pill, link === "waiting" && status.stage ? status.stage : text);
  pill.title = status.told || "";
  put($("#network"), status.network || "");
}

function showHistory() {
  const nav = $("#history");
  nav.hidden = !state.rounds.length;
  const newest = state.rounds[0]?.round;
  const shown = view.number ?? newest;
  const marks = { running: "…", converged: "✓", exhausted: "✗", abandoned: "✗" };
  put($("ol", nav), state.rounds.map((one) => h("li", {}, h("button", { type: "button", "data-round": one.round, "aria-current": one.round === shown ? "true" : "false" },
    `${marks[one.phase]} ${dated(one)} · ${one.round}`))));
}

$("#history").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button) look(Number(button.dataset.round));
});

function look(round) {
  view.number = round === state.rounds[0]?.round ? null : round;
  view.mode = null;
  view.step = -1;
  for (const part of ["round", "plan", "market", "day"]) state[part] = null;
  showHistory();
  listen();
}

function showNothing() {
  $("main").classList.add("empty");
  const { link, told, stage } = state.status;
  put($("#headline"), word("noRound"));
  put($("#lead"), link === "waiting" && stage ? `${stage} …` : ["away", "wrong"].includes(link) ? told : word("noRoundLead"));
  document.title = "gridpact live";
}

function showHero() {
  const { round, market, day } = state;
  const homes = homesOnly(round);
  const inside = homes.filter((home) => !["absent", "abstained"].includes(home.state));
  const here = round.homes.filter((home) => home.state === "here").length;
  const values = { day: dated(round), homes: inside.length, here, all: round.homes.length, iterations: round.iteration, time: duration((round.ended || 0) - round.started) };
  put($("#headline"), word(round.phase, values));
  document.title = `${round.phase === "iterating" ? `${round.iteration} · ` : ""}${word(round.phase, values)}`;
  const agreed = round.phase === "converged";
  const replaced = state.rounds.find((one) => one.round === round.round)?.replaced;
  put($("#lead"), word(agreed && !round.network ? "convergedLeadTrades" : `${round.phase}Lead`, values), replaced ? ` ${word("replaced", { round: replaced })}` : "");

  const pairs = market?.trades.length || 0;
  const read = Object.keys(day?.delivered || {}).length;
  const failed = ["exhausted", "abandoned"].includes(round.phase);
  const through = day?.through;
  const stages = [
    ["stageDeclare", round.phase === "declaring" ? word("stageDeclared", { n: here, all: round.homes.length }) : word("stageDeclared", { n: round.homes.filter((one) => !["absent", "abstained"].includes(one.state)).length, all: round.homes.length }), round.phase === "declaring" ? "now" : "done"],
    ["stageAgree", round.iteration ? word("stageIteration", { n: round.iteration }) : "", round.phase === "iterating" ? "now" : agreed ? "done" : failed ? "failed" : ""],
    ["stageTrade", pairs ? word("stagePairs", { n: pairs }) : "", pairs && (read || through) ? "done" : agreed ? (read ? "done" : "now") : ""],
    through ? ["stageDay", word("stageSteps", { n: through.settled.length, all: round.steps }), through.settled.length >= round.steps ? "done" : through.settled.length ? "now" : ""] : ["stageDay", read ? word("stageRead", { n: read, all: homes.length }) : "", read >= homes.length ? "done" : read ? "now" : ""],
  ];
  put($("#stages"), stages.map(([stage, text, mark]) => h("li", { class: mark, "aria-current": mark === "now" ? "step" : null }, h("b", {}, word(stage)), h("span", {}, text))));
  showAlert();
}

// What is shown, and, without seconds that pass, what is read aloud: only where it is another.
function showAlert() {
  const { round, status } = state;
  const lines = [];
  const aloud = [$("#headline").textContent];
  if (round) {
    const late = lateNodes();
    if (late.length) {
      const left = round.deadline - now();
      aloud.push(word("lateShort", { who: listed(late) }));
      lines.push(`${word("late", { who: listed(late), time: duration(now() - round.since) })} ${left > 0 ? word("lateEnd", { time: duration(left) }) : word("lateNow")}`);
    }
    const gone = round.homes.filter((home) => ["out", "proved"].includes(home.state)).map((home) => home.node);
    if (gone.length) aloud.push(word("gone", { who: listed(gone) }));
    if (gone.length) lines.push(word("gone", { who: listed(gone) }));
  }
  if (status.link === "away" || status.link === "wrong") { lines.push(status.told); aloud.push(status.told); }
  const taken = status.taken_back;
  if (taken && now() - taken.at < 120) lines.push(word("takenBack", { ...taken, at: clock(taken.at) }));
  put($("#alert"), lines.map((line) => h("span", {}, line, h("br"))));
  put($("#announce"), aloud.join(" "));
}

function showTiles() {
  const { round, market } = state;
  const homes = homesOnly(round);
  const here = homes.filter((home) => !["out", "proved", "absent", "abstained", "awaited"].includes(home.state)).length;
  const late = new Set(lateNodes());
  const there = round.phase === "iterating" ? homes.filter((home) => ["here", "awaited"].includes(home.state) && !late.has(home.node)).length : here;
  const apart = worst(round);
  const gas = Object.values(round.gas).reduce((total, [used]) => total + used, 0);
  const tile = (label, value, more) => h("div", {}, h("dt", {}, word(label, { unit: `${symbol()}/kWh` })), h("dd", {}, value, more ? h("small", {}, more) : null));
  const tiles = [
    tile("tileIteration", number(round.iteration), word("tileOf", { n: round.most_iterations })),
    tile("tileHomes", `${there} / ${homes.length}`, null),
  ];
  if (apart !== null) tiles.splice(1, 0, tile("tileApart", apart <= 1 ? "✓" : number(apart, apart < 10 ? 1 : 0), word(apart <= 1 ? "tileAgreed" : "tileTimesLimit")));
  if (market?.trades.length) {
    const sums = traded(market);
    tiles.push(tile("tileTraded", `${number(sums.kwh, 1)} kWh`, word("tilePairs", { n: market.trades.length })));
    const extremes = market.import_micro.length ? word("tileInstead", { low: number(Math.min(...market.feed_in_micro) / 1e6, 2), high: number(Math.max(...market.import_micro) / 1e6, 2) }) : null;
    tiles.push(tile("tilePrice", number(sums.value / (sums.kwh || 1), 3), extremes));
  }
  const ether = Number(round.wei) / 1e18;
  const cost = state.status.eth_price_eur ? number(ether * state.status.eth_price_eur, 2, { style: "currency", currency: "EUR" }) : `${number(ether, 4)} ETH`;
  tiles.push(tile("tileGas", number(gas, 1, { notation: "compact" }), cost));
  put($("#tiles"), tiles);
}

function traded(market) {
  let [kwh, value] = [0, 0];
  for (const { steps } of market.trades) for (const [, wh, price] of steps) { kwh += Math.abs(wh) / 1000; value += (Math.abs(wh) / 1000) * (price / 1e6); }
  return { kwh, value };
}

// ------------------------------------------------------------------ cards

function showAgreement() {
  const { round } = state;
  const rows = round.iterations.filter(([, , , rms]) => rms.length);
  const used = [0, 1, 2, 3].filter((k) => rows.some(([, , , rms]) => rms[k] > 0));
  const labels = ["primalGrid", "dualGrid", "primalTrade", "dualTrade"].map((one) => word(one));
  const data = [rows.map(([k]) => k), ...used.map((j) => rows.map(([, , , rms]) => (rms[j] > 0 ? rms[j] / round.limits_w[j] : null)))];
  const last = worst(round);
  charts.agreement.show(`${document.documentElement.lang}${used}`, rows.length ? data : null, agreementOptions(labels, used, word("iteration"), word("limit")),
    `${word("agreement")}: ${last === null ? "" : word("tileTimes", { n: number(last, 1) })}`);
  put($("#agreement .note"), rows.length ? word("agreementNote") : word("noIterations"));
  put($("#agreement .scroll"), table([word("iteration"), ...labels.map((label) => `${label} (W)`)],
    [...rows.map(([k, , , rms]) => [String(k), ...rms.map((w) => number(w, 2))]), [word("limit"), ...round.limits_w.map((w) => number(w, 2))]]));
}

const MARKS = { here: "✓", awaited: "…", lateState: "!", out: "✗", proved: "✗", abstained: "–", absent: "–" };

function showHomes() {
  const { round } = state;
  const late = new Set(lateNodes());
  const many = round.homes.length > 40;
  $("#homes").classList.toggle("many", many);
  const shown = (home) => (late.has(home.node) ? "lateState" : home.state);
  const wrong = (home) => ["lateState", "out", "proved"].includes(shown(home));
  const ordered = many ? [...round.homes.filter(wrong), ...round.homes.filter((home) => !wrong(home))] : round.homes;
  put($("#homes ul"), ordered.map((home) => {
    const text = `${MARKS[shown(home)]} ${word(shown(home))}${home.missed && shown(home) !== "out" ? ` (−${home.missed})` : ""}`;
    const short = many && !wrong(home);
    return h("li", { class: short ? null : "worded" }, h("button", { type: "button", class: shown(home), "data-node": home.node, "aria-pressed": view.chosen === home.node ? "true" : "false", "aria-label": `${name(home.node)}: ${text}`, title: `${name(home.node)}: ${text}` },
      short ? `${MARKS[shown(home)]} ${home.node}` : [h("b", {}, name(home.node)), h("span", {}, text)]));
  }));
  put($("#homes .legend"), word("homesLegend"));
}

$("#homes").addEventListener("click", (event) => {
  const button = event.target.closest("button[data-node]");
  if (button) choose(Number(button.dataset.node));
});

function choose(node) {
  view.chosen = view.chosen === node ? null : node;
  showHomes();
  showMap();
  showMoney();
}

function showMap() {
  const { round, plan, market } = state;
  if (!round) return;
  const modes = [...(plan ? ["power"] : []), "trades", ...(plan?.voltage_pu && Object.keys(plan.voltage_pu).length ? ["voltage"] : [])];
  if (!modes.includes(view.mode)) view.mode = null;
  const mode = view.mode ?? (market?.trades.length ? "trades" : modes[0]);
  put($(".modes"), modes.map((one) => h("button", { type: "button", role: "radio", "data-mode": one, "aria-checked": one === mode ? "true" : "false", tabindex: one === mode ? 0 : -1 }, word(`mode${one[0].toUpperCase()}${one.slice(1)}`))));
  const slider = $("#step");
  slider.max = round.steps;
  slider.value = view.step + 1;
  const shown = view.step < 0 ? word("wholeDay") : `${timeOf(view.step)}–${timeOf(view.step + 1)}`;
  slider.setAttribute("aria-label", word("hour"));
  slider.setAttribute("aria-valuetext", shown);
  put($(".time output"), shown);
  put($("#play"), view.playing ? "❚❚" : "▶");
  $("#play").setAttribute("aria-label", word(view.playing ? "pause" : "play"));
  draw($(".map"), state, { mode, step: view.step, chosen: view.chosen, choose, name });
  put($("#feeder .legend"), legend(mode));
  showDetail();
}

function legend(mode) {
  const { plan, market } = state;
  const drawn = plan?.flow_kw || Object.keys(state.status.tree || {}).length;
  const whence = plan?.own || plan?.read ? (mode === "trades" ? null : plan.own ? "mapOwn" : "mapRead") : state.round.sealed ? "mapSealed" : drawn ? null : plan ? "mapStar" : "mapNone";
  const place = whence ? `${word(whence)} ` : "";
  if (mode === "trades") return place + word(market?.trades.length ? "legendTrades" : "legendTradesNone");
  if (mode === "voltage") return place + (plan.limits_pu ? word("legendVoltage", { low: number(plan.limits_pu[0], 2), high: number(plan.limits_pu[1], 2) }) : word("legendVoltageFree"));
  if (!plan.flow_kw) return place + word("legendHomes");
  const most = Math.max(0, ...Object.keys(plan.flow_kw).flatMap((node) => sizes(plan, node)));
  const rated = Object.keys(state.status.rating_kva || {}).length > 0;
  return place + word(rated ? "legendLoading" : "legendPower", { n: `${number(most, 1)} ${plan.flow_kvar ? "kVA" : "kW"}` });
}

function showDetail() {
  const { market } = state;
  const node = view.chosen;
  if (node === null || !market) { put($(".detail"), []); return; }
  const rows = market.trades.filter((one) => one.lower === node || one.higher === node).map((one) => {
    const [partner, sign] = one.lower === node ? [one.higher, 1] : [one.lower, -1];
    const sold = one.steps.reduce((total, [, wh]) => total + Math.max(sign * wh, 0), 0) / 1000;
    const bought = one.steps.reduce((total, [, wh]) => total + Math.max(-sign * wh, 0), 0) / 1000;
    return [name(partner), number(sold, 2), number(bought, 2), money(sign * one.payment, 2, signed)];
  });
  put($(".detail"), h("h3", {}, name(node)), rows.length
    ? h("div", { class: "scroll" }, table([word("colNeighbours"), `${word("colSold")} kWh`, `${word("colBought")} kWh`, symbol()], rows)) : h("p", { class: "note" }, word(MARKS[state.round.homes.find((one) => one.node === node)?.state] ? state.round.homes.find((one) => one.node === node).state : "absent")));
}

$(".modes").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button) { view.mode = button.dataset.mode; showMap(); }
});
$(".modes").addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  const buttons = [...event.currentTarget.children];
  const next = buttons[(buttons.findIndex((one) => one.getAttribute("aria-checked") === "true") + step + buttons.length) % buttons.length];
  view.mode = next.dataset.mode;
  showMap();
  $('.modes [aria-checked="true"]').focus();
});
$("#step").addEventListener("input", (event) => { stop(); view.step = Number(event.target.value) - 1; showMap(); });
$("#play").addEventListener("click", () => {
  if (view.playing) { stop(); showMap(); return; }
  view.playing = setInterval(() => { view.step = view.step + 1 >= state.round.steps ? 0 : view.step + 1; showMap(); }, 700);
  view.step = Math.max(view.step, 0);
  showMap();
});

function stop() {
  clearInterval(view.playing);
  view.playing = null;
}

function showPrices() {
  const { market, round } = state;
  const has = market && market.import_micro.length;
  put($("#prices .note"), has ? word("pricesNote") : word("pricesNone"));
  if (!has) { charts.prices.show("", null); put($("#prices .scroll"), []); return; }
  const dt = round.step_seconds / 3600;
  const steps = market.import_micro.length;
  const found = Array.from({ length: steps }, () => ({ kwh: 0, value: 0, low: null, high: null }));
  for (const trade of market.trades) for (const [k, wh, micro] of trade.steps) {
    const one = found[k];
    if (!one) continue;
    const price = micro / 1e6;
    one.kwh += Math.abs(wh) / 1000;
    one.value += (Math.abs(wh) / 1000) * price;
    one.low = one.low === null ? price : Math.min(one.low, price);
    one.high = one.high === null ? price : Math.max(one.high, price);
  }
  const mean = found.map((one) => (one.kwh ? one.value / one.kwh : null));
  // Steps are drawn as stairs, trades in the middle of theirs.
  const x = Array.from({ length: 2 * steps + 1 }, (_, k) => (k * dt) / 2);
  const stairs = (values) => x.map((_, k) => values[Math.min(Math.floor(k / 2), steps - 1)] / 1e6);
  const dots = (values) => x.map((_, k) => (k % 2 ? values[(k - 1) / 2] : null));
  const words = { hour: word("hour"), importPrice: word("importPrice"), feedIn: word("feedIn"), tradePrice: word("tradePrice") };
  charts.prices.show(`${document.documentElement.lang}${steps}`, [x, stairs(market.import_micro), stairs(market.feed_in_micro), dots(mean)], priceOptions(words), word("pricesNote"));
  charts.prices.plot.ranges = { low: dots(found.map((one) => one.low)), high: dots(found.map((one) => one.high)) };
  charts.prices.redraw();
  const others = new Map();  // other suppliers, and whose they are
  for (const [node, one] of Object.entries(market.own || {})) others.set(one.supplier, { ...one, homes: [...(others.get(one.supplier)?.homes || []), name(Number(node))] });
  const own = [...others.values()];
  const heads = own.flatMap(({ homes }) => [words.importPrice, words.feedIn].map((what) => `${what}: ${homes.join(", ")}`));
  const pair = (one, k) => [number(one.import_micro[k] / 1e6, 3), number(one.feed_in_micro[k] / 1e6, 3)];
  put($("#prices .scroll"), table([word("hour"), words.importPrice, words.feedIn, ...heads, words.tradePrice, "kWh"],
    found.map((one, k) => [timeOf(k), ...pair(market, k), ...own.flatMap((other) => pair(other, k)), mean[k] === null ? "–" : number(mean[k], 3), one.kwh ? number(one.kwh, 2) : "–"])));
}

function showDay() {
  const { plan, day, round } = state;
  const dt = round.step_seconds / 3600;
  showDeals(day?.through?.deals || []);
  showCalls(day?.through?.calls || []);
  if (day?.through) { showThrough(day.through, dt); return; }
  const read = Object.entries(day?.delivered || {});
  const steps = round.steps;
  const agreed = plan?.read ? null : plan;
  const whose = read.length ? read.map(([node]) => node) : Object.keys(agreed?.injection_kw || {});
  const planned = agreed ? Array.from({ length: steps }, (_, k) => whose.reduce((total, node) => total + (agreed.injection_kw[node]?.[k] || 0), 0)) : null;
  const metered = read.length ? Array.from({ length: steps }, (_, k) => read.reduce((total, [, one]) => total + (one.energies_wh[k] || 0) / 1000 / dt, 0)) : null;
  put($("#day .note"), read.length ? word("dayNote", { n: read.length }) : word(planned ? "dayNone" : "dayEmpty"));
  if (!planned && !metered) { charts.day.show("", null); put($("#day .scroll"), []); return; }
  const x = Array.from({ length: steps + 1 }, (_, k) => k * dt);
  const stairs = (values) => x.map((_, k) => (values ? values[Math.min(k, steps - 1)] : null));
  const words = [word("hour"), word("planned"), word("metered")];
  charts.day.show(`${document.documentElement.lang}${steps}`, [x, stairs(planned), stairs(metered)], dayOptions(words), $("#day .note").textContent);
  put($("#day .scroll"), table([words[0], `${words[1]} kW`, `${words[2]} kW`],
    x.slice(0, -1).map((_, k) => [timeOf(k), planned ? number(planned[k], 2) : "–", metered ? number(metered[k], 2) : "–"])));
}

// A day that is settled step by step: what was nominated and read, and what went through the pool.
function showThrough(through, dt) {
  const { round } = state;
  const nominated = Array.from({ length: round.steps }, (_, k) => -Object.values(through.nominated).reduce((total, series) => total + (series[k] || 0), 0) / 1000 / dt);
  const metered = Array.from({ length: round.steps }, (_, k) => (through.read[k] ? Object.values(through.read[k]).reduce((total, wh) => total + wh, 0) / 1000 / dt : null));
  const x = Array.from({ length: round.steps + 1 }, (_, k) => k * dt);
  const stairs = (values) => x.map((_, k) => values[Math.min(k, round.steps - 1)]);
  const words = [word("hour"), word("nominated"), word("metered")];
  put($("#day .note"), word("throughNote", { n: through.settled.length, all: round.steps }), through.uncovered ? ` ${word("throughUncovered", { n: through.uncovered })}` : "");
  charts.day.show(`${document.documentElement.lang}through`, [x, stairs(nominated), stairs(metered)], dayOptions(words), $("#day .note").textContent);
  const at = new Map(through.settled.map(([k, ...rest]) => [k, rest]));
  put($("#day .scroll"), table([word("hour"), `${words[1]} kW`, `${words[2]} kW`, `${word("colPool")} kWh`, word("colPoolPrice"), `${word("colDeviation")} kWh`],
    nominated.map((kw, k) => [timeOf(k), number(kw, 2), metered[k] === null ? "–" : number(metered[k], 2),
      ...(at.has(k) ? [number(at.get(k)[0] / 1000, 2), at.get(k)[0] ? number(at.get(k)[1] / 1e6, 3) : "–", number(at.get(k)[2] / 1000, 2, signed)] : ["–", "–", "–"])])));
}

// What two agreed on for a step: who sells, who buys, what became of it.
function showDeals(deals) {
  $("#deals").hidden = !deals.length;
  const sides = (nodes) => (nodes.length ? listed(nodes) : "–");
  put($("#deals .scroll"), table(["dealKind", "hour", "dealSeller", "dealBuyer", "dealEnergy", "dealPrice", "dealPaid", "dealState"].map((one) => word(one)),
    deals.map((one) => [word(`deal_${one.kind}`), timeOf(one.step), sides(one.sellers), sides(one.buyers), number((one.taken_wh || one.offered_wh) / 1000, 2), number(one.price / 1e6, 3),
      one.paid.length ? money(one.paid.reduce((sum, [, , units]) => sum + units, 0)) : "–", word(`deal_${one.state}`)])));
}

// What an aggregator called whom for: asked, moved, paid, step by step.
function showCalls(calls) {
  $("#calls").hidden = !calls.length;
  const kwh = (wh) => (wh === null ? "–" : number(wh / 1000, 2, signed));
  put($("#calls .scroll"), table([word("colHome"), word("hour"), `${word("callAsked")} kWh`, `${word("callMoved")} kWh`, word("callPaid")],
    calls.flatMap((one) => one.asked_wh.map((wh, k) => [k ? "" : name(one.node), timeOf(one.first + k), kwh(wh), kwh(one.moved_wh[k]), k ? "" : one.payment === null ? word("callOpen") : money(one.payment, 2, signed)]))));
}

function showMoney() {
  const { market, day, round, plan } = state;
  const delivered = day?.delivered || {};
  const through = day?.through;
  const called = (through?.calls || []).filter((one) => one.payment !== null);
  if (!market || (!market.trades.length && !Object.keys(delivered).length && !through?.settled.length && !through?.deals.some((one) => one.paid.length) && !called.length)) {
    put($("#money .note"), word("moneyNone"));
    put($("#money .scroll"), []);
    return;
  }
  const dt = round.step_seconds / 3600;
  const of = new Map(homesOnly(round).map(({ node }) => [node, { sold: 0, bought: 0, neighbours: 0, supplier: null, calls: 0, off: null }]));
  if (through) for (const [node, [sold, bought, units]] of Object.entries(through.traded)) {
    Object.assign(of.get(Number(node)) || {}, { sold: sold / 1000, bought: bought / 1000, neighbours: units });
  } else for (const trade of market.trades) for (const [node, sign] of [[trade.lower, 1], [trade.higher, -1]]) {
    const one = of.get(node);
    if (!one) continue;
    one.neighbours += sign * trade.payment;
    for (const [, wh] of trade.steps) { one.sold += Math.max(sign * wh, 0) / 1000; one.bought += Math.max(-sign * wh, 0) / 1000; }
  }
  for (const [node, read] of Object.entries(delivered)) {
    const one = of.get(Number(node));
    if (!one) continue;
    one.supplier = read.payment;
    const series = round.star && !plan?.read ? plan?.injection_kw?.[node] : null; // between neighbours, losses are not told apart
    if (series) one.off = read.energies_wh.reduce((total, wh, k) => total + Math.abs(wh / 1000 - (series[k] || 0) * dt), 0);
  }
  for (const [node, units] of Object.entries(through?.received || {})) if (of.has(Number(node))) of.get(Number(node)).supplier = units;
  for (const { paid } of through?.deals || []) for (const [payer, receiver, units] of paid) {
    for (const [node, other, sum] of [[payer, receiver, -units], [receiver, payer, units]]) {
      const one = of.get(node);
      if (one && other === SUPPLIER) one.supplier = (one.supplier || 0) + sum;
      else if (one) one.neighbours += sum;
    }
  }
  for (const { node, payment } of called) if (of.has(node)) of.get(node).calls += payment;
  const sum = (one) => one.neighbours + (one.supplier || 0) + one.calls;
  const most = Math.max(...[...of.values()].map((one) => Math.abs(sum(one))), 1);
  const shown = (units) => (units === null ? "–" : money(units, 2, signed));
  const rows = [...of.entries()].map(([node, one]) => ({ node, cells: [name(node), number(one.sold, 1), number(one.bought, 1), shown(one.neighbours), shown(one.supplier), ...(called.length ? [shown(one.calls)] : []),
    h("span", {}, bar(sum(one) / most), " ", shown(sum(one))),
    one.off === null ? "–" : `${number(one.off, 1)} kWh`, day?.balances?.[node] === undefined ? "–" : money(day.balances[node], 2, { signDisplay: "negative" })] }));
  const all = [...of.values()];
  const total = (key) => all.reduce((before, one) => before + (one[key] || 0), 0);
  const made = table([word("colHome"), `${word("colSold")} kWh`, `${word("colBought")} kWh`, word("colNeighbours"), word("colSupplier"), ...(called.length ? [word("colCalls")] : []), word("colTogether"), word("colOff"), word("colBalance")],
    rows.map((row) => row.cells),
    [word("gasAll"), number(total("sold"), 1), number(total("bought"), 1), shown(total("neighbours")), shown(total("supplier")), ...(called.length ? [shown(total("calls"))] : []), shown(total("neighbours") + total("supplier") + total("calls")), `${number(total("off"), 1)} kWh`, ""]);
  made.querySelectorAll("tbody tr").forEach((tr, k) => tr.classList.toggle("chosen", rows[k].node === view.chosen));
  put($("#money .note"), word("moneyNote", { currency: symbol() }), through ? ` ${word("moneyThrough")}` : "");
  put($("#money .scroll"), made);
}

function bar(share) {
  const width = Math.max(Math.abs(share) * 48, 0.5);
  return s("svg", { class: "bar", viewBox: "0 0 100 12", "aria-hidden": "true" },
    s("rect", { x: share < 0 ? 50 - width : 50, y: 1, width, height: 10, rx: 2, class: share < 0 ? "minus" : "plus" }),
    s("line", { x1: 50, x2: 50, y1: 0, y2: 12, class: "axis" }));
}

function showHousehold() {
  const card = $("#household");
  card.hidden = !state.household;
  if (!state.household) return;
  const { head, tail, rows } = householdCard(state, { name, timeOf, money, symbol: symbol() });
  put($(".head", card), head);
  put($(".tail", card), tail);
  const ends = [...rows, rows.at(-1)];
  const series = [(one) => one.kw, (one) => one.battery, (one) => -one.car, (one) => (one.load === null ? null : -one.load), (one) => one.sun];
  const words = [word("hour"), word("colMeter"), word("colBattery"), word("colCar"), word("mineLoad"), word("mineSun")];
  const data = rows.length ? [ends.map((_, k) => k * rows[0].dt), ...series.map((of) => ends.map(of))] : null;
  charts.household.show(document.documentElement.lang, data, householdOptions(words), word("mine", { name: state.household.name }));
}

function showGas() {
  const { round, status } = state;
  const order = ["open", "declare", "submit", "settle", "deliver", "other"];
  const rows = order.filter((key) => round.gas[key]).map((key) => [word(`gas_${key}`), number(round.gas[key][0]), number(round.gas[key][1])]);
  const total = (k) => Object.values(round.gas).reduce((sum, one) => sum + one[k], 0);
  put($("#gas .scroll"), table([word("gasWhat"), word("tileGas"), word("gasTransactions")], rows, [word("gasAll"), number(total(0)), number(total(1))]));
  const ether = Number(round.wei) / 1e18;
  const price = status.eth_price_eur;
  const euro = { style: "currency", currency: "EUR" };
  put($("#gas .note"), `${word("gasCost", { ether: number(ether, 6) })}; ${price ? word("gasEuro", { euro: number(ether * price, 2, euro), price: number(price, 0, euro) }) : word("gasFree")}.`);
}

function showHappened() {
  put($("#happened ol"), state.round.happened.map(({ at, name: event, said, more }) => {
    const values = { ...said };
    for (const key of ["node", "lower", "higher", "partner", "poster", "taker", "writer", "buyer", "proposer"]) if (key in values) values[key] = name(values[key]);
    const text = known(event) ? word(event, values) : `${event} ${Object.entries(values).map(([key, value]) => `${key} ${value}`).join(", ")}`;
    return h("li", {}, h("time", {}, clock(at)), h("span", {}, text, more ? h("i", {}, ` ${word("andAlike", { n: number(more) })}`) : null));
  }));
}

// ------------------------------------------------------------------ language and theme

const kept = (key) => { try { return localStorage.getItem(key); } catch { return null; } };
const keep = (key, value) => { try { localStorage.setItem(key, value); } catch { /* a browser may keep nothing */ } };
const dark = matchMedia("(prefers-color-scheme: dark)");
const THEMES = ["auto", "light", "dark"];
let theme = THEMES.includes(kept("theme")) ? kept("theme") : "auto";

function paint() {
  document.documentElement.dataset.theme = theme === "auto" ? (dark.matches ? "dark" : "light") : theme;
  const label = word(`theme${theme[0].toUpperCase()}${theme.slice(1)}`);
  put($("#theme"), { auto: "◐", light: "☀", dark: "☾" }[theme]);
  $("#theme").title = label;
  $("#theme").setAttribute("aria-label", label);
  Object.values(charts).forEach((chart) => chart.redraw());
}

function translate() {
  for (const element of document.querySelectorAll("[data-word]")) put(element, word(element.dataset.word));
  paint();
  show(new Set(PARTS));
}

$("#theme").addEventListener("click", () => {
  theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
  keep("theme", theme);
  paint();
});
dark.addEventListener("change", paint);
$("#language").addEventListener("change", (event) => {
  keep("language", event.target.value);
  speak(event.target.value);
  translate();
});

const asked = [kept("language"), ...(navigator.languages || [])].map((one) => (one || "").slice(0, 2));
const first = asked.find((one) => LANGUAGES.includes(one)) || "en";
speak(first);
$("#language").value = first;
translate();
listen();

// Time passes without news: who is late, and for how long.
setInterval(() => {
  if (!state.round || FINAL.includes(state.round.phase)) return;
  showAlert();
  showTiles();
  showHomes();
}, 1000);
let width = innerWidth;
addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; showMap(); } });
