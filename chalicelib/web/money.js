// Money is a whole number of cents as a BigInt, never a float.

const MOST_CENTS = 100_000_000_000n;
const AMOUNT = /^\$?\s*(\d+|\d{1,3}(?:,\d{3})+)?(?:\.(\d{1,2})0*)?$/;

/** Cents of a decimal string as the server writes it, such as "4712.10". */
export function centsOf(text) {
  const [whole, part = ""] = text.split(".");
  return BigInt(whole) * 100n + BigInt(part.padEnd(2, "0"));
}

/** What a user typed or pasted, such as "1,000.50", "$50" or ".5": `{cents}`, or `{wrong}` in words. */
export function readAmount(typed, what = "An amount") {
  const text = typed.trim();
  if (text === "") return { wrong: `Enter ${what.toLowerCase()}.` };
  const match = AMOUNT.exec(text);
  if (match === null || !/\d/.test(text)) {
    return { wrong: `${what} is digits with at most two decimals, such as 250, 1,250 or 12.50.` };
  }
  const [, whole = "0", part = ""] = match;
  const cents = centsOf(`${whole.replaceAll(",", "")}.${part}`);
  if (cents === 0n) return { wrong: `${what} must be more than 0.` };
  if (cents > MOST_CENTS) return { wrong: `${what} can be 1,000,000,000.00 at most.` };
  return { cents };
}

/** As the server expects it: "4712.10". */
export function wireOf(cents) {
  return `${cents / 100n}.${String(cents % 100n).padStart(2, "0")}`;
}

/** As shown to users: "$4,712.10". */
export function shown(cents) {
  const sign = cents < 0n ? "−" : "";
  const [whole, part] = wireOf(cents < 0n ? -cents : cents).split(".");
  return `${sign}$${whole.replace(/\B(?=(\d{3})+$)/g, ",")}.${part}`;
}

/** How far `to` is from `from`, as a signed percentage with one decimal: "+2.4%". */
export function distance(from, to) {
  const difference = to - from;
  const size = difference < 0n ? -difference : difference;
  const tenths = (size * 1000n + from / 2n) / from;
  const sign = tenths === 0n ? "" : difference < 0n ? "−" : "+";
  return `${sign}${tenths / 10n}.${tenths % 10n}%`;
}

/** What a user typed as a number of shares: `{shares}`, or `{wrong}` in words. */
export function readShares(typed) {
  const text = typed.trim().replaceAll(",", "");
  if (text === "") return { wrong: "Enter a number of shares." };
  if (!/^\d{1,15}$/.test(text)) return { wrong: "Shares must be a whole number, such as 10." };
  const shares = BigInt(text);
  return shares === 0n ? { wrong: "At least one share." } : { shares };
}

/** A gain as a signed percentage of its cost; null if the cost is 0. */
export const gainShare = (cost, worth) => (cost > 0n ? distance(cost, worth) : null);
