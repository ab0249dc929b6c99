// A household's own view: what its node has planned, what it comes to, and why. From its own folder, on its own machine.
import { h, table } from "./dom.js";
import { dayText, number, word } from "./words.js";

const SMALL = 0.05; // kW or kWh: less is not worth a word

// By whose prices a home is supplied: its own supplier's, or the community's.
function tariffOf(market, node) {
  return market?.own?.[node] || market;
}

// What an aggregator has called this home for.
const callsOf = ({ day, household }) => (day?.through?.calls || []).filter((one) => one.node === household.node);

// What a step has, from the schedule (private) and from trades and tariff (public).
function steps(state, name, timeOf) {
  const { household, market, round } = state;
  const called = new Map();
  for (const one of callsOf(state)) one.asked_wh.forEach((wh, k) => called.set(one.first + k, [wh, one.moved_wh[k]]));
  const rows = household.schedule?.steps || [];
  const tariff = tariffOf(market, household.node);
  const dt = round.step_seconds / 3600;
  const trades = rows.map(() => ({ sold: 0, bought: 0, value: 0, sellers: new Set(), buyers: new Set() }));
  for (const trade of market?.trades || []) {
    if (trade.lower !== household.node && trade.higher !== household.node) continue;
    const [partner, sign] = trade.lower === household.node ? [trade.higher, 1] : [trade.lower, -1];
    for (const [k, wh, micro] of trade.steps) {
      const one = trades[k];
      const kwh = (sign * wh) / 1000;
      if (!one) continue;
      if (kwh > 0) { one.sold += kwh; one.buyers.add(name(partner)); } else { one.bought -= kwh; one.sellers.add(name(partner)); }
      one.value += (kwh * micro) / 1e6;
    }
  }
  return rows.map((row, k) => ({
    k, dt, time: timeOf(k), kw: row.injection_kw ?? 0, kwh: (row.meter_wh ?? 1000 * dt * (row.injection_kw ?? 0)) / 1000,
    battery: of(row, "discharge_kw") - of(row, "charge_kw"), car: of(row, "car_kw"), boiler: of(row, "boiler_kw"), unused: of(row, "curtailed_kw"),
    load: household.load_kw?.[k] ?? null, sun: household.pv_kw?.[k] ?? null,
    imported: tariff?.import_micro[k] === undefined ? null : tariff.import_micro[k] / 1e6,
    fedIn: tariff?.feed_in_micro[k] === undefined ? null : tariff.feed_in_micro[k] / 1e6,
    called: called.get(k), tradeFee: (tariff?.traded_micro?.[k] || 0) / 1e6, ...trades[k],
  }));
}

// A second device of a kind has `_2` behind its name.
const of = (row, column) => Object.entries(row).reduce((total, [key, value]) => total + (key === column || key.startsWith(`${column}_`) ? value || 0 : 0), 0);

function price(value) {
  return number(value, 2);
}

// Why a step is as it is: what a person would say who knows prices, trades and devices.
function why(one, all) {
  const said = [];
  const dearest = Math.max(...all.map((other) => other.imported ?? 0));
  const cheapest = Math.min(...all.map((other) => other.imported ?? Infinity));
  if (one.bought > SMALL) said.push(word("whyBuy", { kwh: number(one.bought, 2), who: [...one.sellers].join(", "), at: price(-Math.min(one.value, 0) / one.bought || one.value / one.bought), instead: one.imported === null ? "–" : price(one.imported) }));
  if (one.sold > SMALL) said.push(word("whySell", { kwh: number(one.sold, 2), who: [...one.buyers].join(", "), at: price(one.value / one.sold), instead: one.fedIn === null ? "–" : price(one.fedIn) }));
  if (one.battery < -SMALL) said.push(word(one.sun !== null && one.sun > (one.load ?? 0) ? "whyStoreSun" : dearest > cheapest ? "whyStore" : "whyStoreOnly", { at: price(dearest) }));
  if (one.battery > SMALL) said.push(one.imported !== null && one.imported > cheapest ? word("whyUse", { at: price(one.imported), least: price(cheapest) }) : word("whyUseOnly"));
  if (one.car > SMALL) said.push(one.imported !== null && one.imported <= cheapest + 1e-9 && dearest > cheapest ? word("whyCarCheap", { at: price(one.imported) }) : word("whyCar"));
  if (one.boiler > SMALL) said.push(word("whyBoiler"));
  if (one.unused > SMALL) said.push(word("whyUnused"));
  if (one.called) said.push(word("whyCalled", { kwh: number(one.called[0] / 1000, 2, { signDisplay: "exceptZero" }) }), ...(one.called[1] === null ? [] : [word("whyMoved", { kwh: number(one.called[1] / 1000, 2, { signDisplay: "exceptZero" }) })]));
  return said.join(" ");
}

export function householdCard(state, { name, timeOf, money, symbol }) {
  const { household, day, round } = state;
  const rows = household ? steps(state, name, timeOf) : [];
  const status = household.schedule?.status;
  const head = [h("h2", {}, word("mine", { name: household.name })),
    h("p", { class: "note" }, word(status ? `mine_${status}` : "mineNone", { day: dayText(round.day) }), household.schedule && household.schedule.round !== round.round ? ` ${word("mineOther", { round: household.schedule.round })}` : "")];
  if (!rows.length) return { head, tail: [], rows };
  const priced = rows.every((one) => one.imported !== null);
  const neighbours = rows.reduce((total, one) => total + one.value, 0);
  const tariff = (kwh, one) => kwh * (kwh > 0 ? one.fedIn : one.imported);
  const rest = priced ? rows.reduce((total, one) => total + tariff(one.kwh - one.sold + one.bought, one), 0) : null;
  const alone = priced ? rows.reduce((total, one) => total + tariff(one.kwh, one), 0) : null;
  const peak = ((tariffOf(state.market, household.node)?.peak_micro || 0) / 1e6) * Math.max(...rows.map((one) => -one.kwh), 0);
  const fees = -peak - rows.reduce((total, one) => total + one.tradeFee * Math.max(one.bought - one.sold, 0), 0);
  const read = day?.delivered?.[household.node];
  const signed = { signDisplay: "exceptZero" };
  const amount = (value) => (value === null ? "–" : `${number(value, 2, signed)} ${symbol}`);
  const bill = [[word("billNeighbours"), amount(neighbours)], [word("billSupplier"), amount(rest)], ...(fees ? [[word("billFees"), amount(fees)]] : []),
    [word("billTogether"), amount(rest === null ? null : neighbours + rest + fees)], [word("billWithout"), amount(alone === null ? null : alone - peak)],
    [word("billGain"), rest === null ? "–" : `${number(neighbours + rest + fees - (alone - peak), 2, signed)} ${symbol}`]];
  if (read) bill.push([word("billRead"), `${money(read.payment, 2, signed)} ${symbol}`]);
  const calls = callsOf(state);
  if (calls.length) bill.push([word("billCalls"), calls.some((one) => one.payment === null) ? word("callOpen") : `${money(calls.reduce((sum, one) => sum + one.payment, 0), 2, signed)} ${symbol}`]);
  if (day?.balances?.[household.node] !== undefined) bill.push([word("billDeposit"), `${money(day.balances[household.node], 2, { signDisplay: "negative" })} ${symbol}`]);
  if (household.deposit_max !== null) bill.push([word("billMost"), `${number(household.deposit_max, 2)} ${symbol}`]);
  const cell = (value) => (Math.abs(value) < 0.005 ? "–" : number(value, 2, signed));
  const plan = table([word("hour"), `${word("colMeter")} kW`, `${word("colBattery")} kW`, `${word("colCar")} kW`, word("why")],
    rows.map((one) => [h("span", { class: "time-of" }, one.time), cell(one.kw), cell(one.battery), cell(-one.car), h("span", { class: "why" }, why(one, rows))]));
  const terms = bill.map(([label, value]) => h("div", {}, h("dt", {}, label), h("dd", {}, value)));
  return { head: [...head, h("dl", { class: "bill" }, terms)], tail: [h("div", { class: "scroll plan" }, plan), h("p", { class: "note" }, word("minePrivate"))], rows };
}
