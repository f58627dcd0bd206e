// Who is signed in: a bearer token, stored for this tab only.

const PLACE = "day-trading.token";
const USER = /^[A-Za-z0-9_-]{1,64}$/;

/** The token in the address's fragment (`#token=...`), which is removed from the address bar; null if there is none. */
export function tokenFromAddress() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token !== null) history.replaceState(null, "", location.pathname + location.search);
  return token;
}

export const keptToken = () => sessionStorage.getItem(PLACE);
export const keepToken = (token) => sessionStorage.setItem(PLACE, token);
export const forgetToken = () => sessionStorage.removeItem(PLACE);
export const forgetEverything = () => sessionStorage.clear();

/**
 * The claims of a token: `{token, user, role, expiresAt}`, the last in milliseconds; or `{wrong}` in words.
 * For display only: the server decides what the user may do.
 */
export function readToken(typed) {
  const token = typed.trim().replace(/^Bearer\s+/i, "");
  if (token === "") return { wrong: "Paste a token." };
  const parts = token.split(".");
  try {
    if (parts.length !== 3) throw new Error("not three parts");
    const [header, claims] = parts.slice(0, 2).map((part) => JSON.parse(decoded(part)));
    const own = header.alg === "HS256";
    const names = document.documentElement.dataset;
    const user = claim(claims, own ? "sub" : names.userClaim);
    const roles = [claim(claims, own ? "role" : names.roleClaim)].flat();
    if (typeof user !== "string" || !USER.test(user)) return { wrong: "This token names no user of this system." };
    if (typeof claims.exp !== "number") return { wrong: "This token has no expiry." };
    return { token, user, role: roles.includes("operator") ? "operator" : "trader", expiresAt: claims.exp * 1000 };
  } catch {
    return { wrong: "This is not a token. A token is three parts with dots between; paste all of it." };
  }
}

function decoded(part) {
  const bytes = Uint8Array.from(atob(part.replaceAll("-", "+").replaceAll("_", "/")), (character) =>
    character.charCodeAt(0),
  );
  return new TextDecoder().decode(bytes);
}

function claim(claims, name) {
  return name in claims ? claims[name] : name.split(".").reduce((found, part) => found?.[part], claims);
}
