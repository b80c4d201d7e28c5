// Answers that several parts need: each is asked for once, and kept until the page is left.
// Knows nothing of what is asked.

import { sendForJson } from "./api.js";

const kept = new Map(); // request, spelled -> promise of its answer

/** The answer to a request without a body. A failure is not kept. */
export function once(asked) {
  if (!kept.has(asked.path)) {
    const answer = sendForJson(asked);
    answer.catch(() => kept.delete(asked.path));
    kept.set(asked.path, answer);
  }
  return kept.get(asked.path);
}
