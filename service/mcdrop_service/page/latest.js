// Of many wishes, the newest: one runs at a time, and those overtaken meanwhile are dropped.

/** A function that runs `task(...args)`, or, while one runs, keeps only the last call for later. */
export function latest(task) {
  let [running, next] = [false, null];
  return async function ask(...args) {
    next = args;
    if (running) return;
    running = true;
    try {
      while (next) {
        const now = next;
        next = null;
        await task(...now);
      }
    } finally {
      running = false;
    }
  };
}

/** A function that calls `task` once calls have ceased for `rest` milliseconds. */
export function settled(task, rest) {
  let timer = 0;
  return (...args) => {
    clearTimeout(timer);
    timer = setTimeout(() => task(...args), rest);
  };
}
