// JSON with exact whole numbers: a transaction number has up to 63 bits, of which a JavaScript number keeps 53.

const TOKENS = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
const KEPT_DIGITS = 15;

/** Parse JSON; a whole number that is too long for a JavaScript number becomes a string. Throws SyntaxError. */
export function parseJson(text) {
  return JSON.parse(text.replace(TOKENS, (token) => (isLong(token) ? `"${token}"` : token)));
}

function isLong(token) {
  return token.length > KEPT_DIGITS && /^-?\d+$/.test(token);
}
