// Something that changes and tells those who watch it.

import { useEffect, useReducer } from "./hooks.js";

export class Changing {
  #watchers = new Set();

  /** Call `watcher` after each change; returns what ends that. */
  watch(watcher) {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  changed() {
    for (const watcher of [...this.#watchers]) watcher();
  }
}

/** Draw the calling component again after each change. */
export function useChanging(...things) {
  const [, draw] = useReducer((count) => count + 1, 0);
  useEffect(() => {
    const ends = things.map((thing) => thing.watch(draw));
    draw(); // what changed between the drawing and now
    return () => ends.forEach((end) => end());
  }, things);
}
