// What went wrong, in words, and beside which field it belongs.

import { Unreachable } from "./api.js";

const WORDS = {
  invalid_amount: ["amount", "The server does not take this amount."],
  invalid_symbol: ["symbol", "A symbol is 1 to 3 letters, such as ABC."],
  invalid_user: ["user", "A user is 1 to 64 of letters, digits, _ and -."],
  invalid_filename: ["filename", "The server does not take this file name."],
  amount_below_price: ["amount", "The amount is below the price of one share."],
  insufficient_funds: ["amount", "There is not enough cash."],
  insufficient_shares: ["amount", "There are not enough shares."],
  no_buy_amount: ["symbol", "There is no buy trigger for this symbol: give an amount as well."],
  no_sell_amount: ["symbol", "There is no sell trigger for this symbol: give an amount as well."],
  no_pending_buy: [null, "There is no pending buy any more: it expired or was settled elsewhere."],
  no_pending_sell: [null, "There is no pending sell any more: it expired or was settled elsewhere."],
  unauthorized: [null, "You are not signed in any more; nothing was changed. Sign in and send it again."],
  forbidden: [null, "Your token does not allow this."],
  idempotency_key_reused: [null, "This was mixed up with another command; nothing was changed. Send it again."],
  quote_unavailable: [null, "No price could be had; nothing was changed. Send it again."],
  store_unavailable: [null, "The server could not store it in time. Send it again: it will be done once."],
  too_late: [null, "It took too long to reach the server; nothing was changed. Send it again."],
  clock_skew: [null, "The server's clock is wrong, so it does not trade; nothing was changed. Send it again."],
  unknown_data_version: [null, "The system is being upgraded; nothing was changed. Send it again later."],
  server_busy: [null, "The server has too much to do; nothing was changed. Send it again."],
  auth_unavailable: [null, "Your token cannot be checked just now; nothing was changed. Send it again."],
  not_found: [null, "There is no such thing."],
};

/** `{field, text}` for an error of `api.js`; `field` is null for what is not about one. */
export function inWords(error) {
  if (error instanceof Unreachable) {
    return { field: null, text: "The server did not answer. Send it again: it will be done once." };
  }
  if (error.code === undefined) throw error; // a fault of the page itself
  if (error.code === "rate_limited") {
    const seconds = error.retryAfterSeconds === 1 ? "1 second" : `${error.retryAfterSeconds} seconds`;
    return { field: null, text: `These were too many commands; the next one is taken in ${seconds}. Nothing was changed.` };
  }
  const [field, words] = WORDS[error.code] ?? [null, "The server refused it."];
  const detail = error.detail.replace(/^\w+: /, "");
  const says = [400, 409, 413].includes(error.status) || !(error.code in WORDS);
  return { field, text: says ? `${words} (${detail})` : words };
}
