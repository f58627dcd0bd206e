// The metrics of the local servers, in the Prometheus text form, and what they come to between two looks.

const SAMPLE = /^(\w+)(?:\{(.*)\})? (\S+)/;
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g;
const REJECTED = new Set(
  "amount_below_price insufficient_funds insufficient_shares no_pending_buy no_pending_sell no_buy_amount no_sell_amount".split(" "),
);
const FAILED = new Set([
  "quote_unavailable",
  "store_unavailable",
  "auth_unavailable",
  "clock_skew",
  "too_late",
  "unknown_data_version",
  "internal_error",
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

/** What is counted so far, at a time in milliseconds. */
export function countsOf(samples, at) {
  const counts = {
    at,
    server: "",
    outcomes: { ok: 0, rejected: 0, refused: 0, failed: 0 },
    commands: new Map(),
    quotes: { cache: 0, source: 0, nowhere: 0 },
    sweeps: {},
  };
  const command = (name) =>
    counts.commands.get(name) ?? counts.commands.set(name, { count: 0, buckets: new Map() }).get(name);
  for (const { name, labels, value } of samples) {
    if (name === "trading_server_info") counts.server = labels.server;
    else if (name === "trading_commands_total") counts.outcomes[kindOf(labels.outcome)] += value;
    else if (name === "trading_command_seconds_count") command(labels.command).count += value;
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

/** What happened between two counts of the same server; null when it was started anew in between. */
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

/** The seconds below which the share `q` of what is counted stays, as a bucket's upper end; null for nothing. */
export function quantile({ count, buckets }, q) {
  if (count === 0) return null;
  const ends = [...buckets].sort(([one], [other]) => one - other);
  return ends.find(([, value]) => value >= q * count)?.[0] ?? Infinity;
}
