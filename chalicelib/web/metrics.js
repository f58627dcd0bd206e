// The metrics of the local servers, in the Prometheus text format, and the change between two reads.

const SAMPLE = /^(\w+)(?:\{(.*)\})? (\S+)/;
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g;
const REJECTED = new Set(
  "amount_below_price insufficient_funds insufficient_shares no_pending_buy no_pending_sell no_buy_amount no_sell_amount order_changed too_many_orders too_many_triggers too_many_holdings cash_limit dump_quota".split(" "),
);
const FAILED = new Set([
  "quote_unavailable",
  "store_unavailable",
  "auth_unavailable",
  "clock_skew",
  "too_late",
  "unknown_data_version",
  "internal_error",
  "account_full",
  "index_conflict",
]);

/** The samples of a text: `[{name, labels, value}]`. */
export function parseMetrics(text) {
  const samples = [];
  for (const line of text.split("\n")) {
    const match = line.startsWith("#") ? null : SAMPLE.exec(line);
    if (match === null) continue;
    const labels = Object.fromEntries([...(match[2] ?? "").matchAll(LABEL)].map(([, name, value]) => [name, value]));
    samples.push({ name: match[1], labels, value: Number(match[3]) });
  }
  return samples;
}

/** The counts so far, at a time in milliseconds. */
export function countsOf(samples, at) {
  const counts = {
    at,
    server: "",
    outcomes: { ok: 0, rejected: 0, refused: 0, failed: 0 },
    codes: new Map(),
    commands: new Map(),
    quotes: { cache: 0, source: 0, nowhere: 0 },
    sweeps: {},
  };
  const command = (name) =>
    counts.commands.get(name) ?? counts.commands.set(name, { count: 0, buckets: new Map() }).get(name);
  for (const { name, labels, value } of samples) {
    if (name === "trading_server_info") counts.server = labels.server;
    else if (name === "trading_commands_total") {
      counts.outcomes[kindOf(labels.outcome)] += value;
      if (labels.outcome !== "ok") counts.codes.set(labels.outcome, (counts.codes.get(labels.outcome) ?? 0) + value);
    } else if (name === "trading_command_seconds_count") command(labels.command).count += value;
    else if (name === "trading_command_seconds_bucket") {
      command(labels.command).buckets.set(labels.le === "+Inf" ? Infinity : Number(labels.le), value);
    } else if (name === "trading_quotes_total") counts.quotes[labels.source] = value;
    else if (name === "trading_sweeps_total") counts.sweeps[labels.outcome] = value;
    else if (name.startsWith("trading_sweep_") && name.endsWith("_total")) counts.sweeps[name.slice("trading_sweep_".length, -"_total".length)] = value;
  }
  return counts;
}

function kindOf(outcome) {
  if (outcome === "ok") return "ok";
  return REJECTED.has(outcome) ? "rejected" : FAILED.has(outcome) ? "failed" : "refused";
}

/** The change between two counts of the same server; null if it was restarted in between. */
export function between(before, now) {
  const seconds = (now.at - before.at) / 1000;
  const commands = [];
  for (const [name, { count, buckets }] of now.commands) {
    const old = before.commands.get(name) ?? { count: 0, buckets: new Map() };
    if (count < old.count) return null;
    const grown = new Map([...buckets].map(([le, value]) => [le, value - (old.buckets.get(le) ?? 0)]));
    commands.push({ name, count: count - old.count, buckets: grown });
  }
  const outcomes = {};
  for (const kind of Object.keys(now.outcomes)) outcomes[kind] = now.outcomes[kind] - before.outcomes[kind];
  return { at: now.at, seconds, commands, outcomes, all: allOf(commands) };
}

function allOf(commands) {
  const buckets = new Map();
  for (const command of commands) {
    for (const [le, value] of command.buckets) buckets.set(le, (buckets.get(le) ?? 0) + value);
  }
  return { count: commands.reduce((total, command) => total + command.count, 0), buckets };
}

/**
 * The seconds that the share `q` of the counts stays below, interpolated within its bucket; null for no counts,
 * Infinity beyond the last bucket.
 */
export function quantile({ count, buckets }, q) {
  if (count === 0) return null;
  const rank = q * count;
  let [low, below] = [0, 0];
  for (const [end, value] of [...buckets].sort(([one], [other]) => one - other)) {
    if (value >= rank) return end === Infinity ? Infinity : low + (end - low) * ((rank - below) / (value - below));
    [low, below] = [end, value];
  }
  return Infinity;
}

/** The counts of several servers, or steps of them, added up. */
export function together(steps) {
  const commands = new Map();
  const outcomes = {};
  for (const step of steps) {
    for (const [kind, count] of Object.entries(step.outcomes)) outcomes[kind] = (outcomes[kind] ?? 0) + count / step.seconds;
    for (const { name, count, buckets } of step.commands) {
      const sum = commands.get(name) ?? commands.set(name, { name, rate: 0, count: 0, buckets: new Map() }).get(name);
      sum.rate += count / step.seconds;
      sum.count += count;
      for (const [le, value] of buckets) sum.buckets.set(le, (sum.buckets.get(le) ?? 0) + value);
    }
  }
  return { commands: [...commands.values()], outcomes, all: allOf([...commands.values()]), rate: [...commands.values()].reduce((total, { rate }) => total + rate, 0) };
}

/** The counts of several servers, each since its start. */
export function summed(counts) {
  const sum = { outcomes: {}, codes: new Map(), quotes: {}, sweeps: {}, commands: new Map() };
  const addTo = (into, from) => {
    for (const [name, value] of Object.entries(from)) into[name] = (into[name] ?? 0) + value;
  };
  for (const { outcomes, codes, quotes, commands } of counts) {
    addTo(sum.outcomes, outcomes);
    addTo(sum.quotes, quotes);
    for (const [code, count] of codes) sum.codes.set(code, (sum.codes.get(code) ?? 0) + count);
    for (const [name, { count, buckets }] of commands) {
      const command = sum.commands.get(name) ?? sum.commands.set(name, { count: 0, buckets: new Map() }).get(name);
      command.count += count;
      for (const [le, value] of buckets) command.buckets.set(le, (command.buckets.get(le) ?? 0) + value);
    }
  }
  sum.sweeps = counts.at(-1)?.sweeps ?? {}; // from the stack's only ticker, which every server reports
  return sum;
}
