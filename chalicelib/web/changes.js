// Values that notify their watchers when they change, the clock among them.

import { useEffect, useReducer } from "./hooks.js";

const TICK_MS = 250;
const RESOLUTION_MS = 2000; // the Date header counts whole seconds, and the answer took some time

export class Changing {
  #watchers = new Set();

  /** Call `watcher` after each change; returns a function that stops it. */
  watch(watcher) {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  changed() {
    for (const watcher of [...this.#watchers]) watcher();
  }
}

/** Render the calling component again after each change. */
export function useChanging(...things) {
  const [, draw] = useReducer((count) => count + 1, 0);
  useEffect(() => {
    const ends = things.map((thing) => thing.watch(draw));
    draw(); // for a change between rendering and now
    return () => ends.forEach((end) => end());
  }, things);
}

/** The time by the server's clock: orders expire by it, and this machine's clock may be wrong. */
class Clock extends Changing {
  #ahead = 0;
  #timer = null;

  /** Milliseconds since the epoch. */
  now() {
    return Date.now() + this.#ahead;
  }

  /** Learn from the Date header of an answer that has just arrived. */
  learn(header) {
    const server = Date.parse(header ?? "");
    if (Number.isNaN(server)) return;
    const ahead = server + 500 - Date.now();
    this.#ahead = Math.abs(ahead) <= RESOLUTION_MS ? 0 : ahead;
  }

  watch(watcher) {
    const end = super.watch(watcher);
    this.#timer ??= setInterval(() => this.changed(), TICK_MS);
    return end;
  }
}

export const clock = new Clock();

/** "14:03:27". */
export const timeOfDay = (ms) => new Date(ms).toLocaleTimeString("en-GB");

/** "0:42" for a remaining time, rounded up so that 0:00 means over. */
export function minutesAndSeconds(ms) {
  const seconds = Math.max(0, Math.ceil(ms / 1000));
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

/** "just now", "12 s", "3 min", "2 h", "5 d". */
export function age(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 2) return "just now";
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  return seconds < 172_800 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86_400)} d`;
}
