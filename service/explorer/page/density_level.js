// What counts as little data in all dimensions of a collection: one level for the map and for the paths.
// Knows nothing of how it is shown.

import { collectionPath, request, useAnswer } from "./api.js";
import { once } from "./asked_once.js";
import { bandwidthOf } from "./density.js";

/**
 * {level, share, asked, error}: of draws from the posteriors of the items, a share lies where the log density is at least `level`,
 * in nats. It is null as long as it is not known, and if the items have no density.
 */
export function useLevel(collection) {
  // The level is found by the posteriors alone. Draws from the prior are for the coverage, which is not used: one is the fewest.
  const query = collection && { bandwidth: bandwidthOf(collection), draws: 1 };
  const asked = collection && request(`${collectionPath(collection)}/coverage`, { query });
  const { answer, error } = useAnswer(asked, once);
  return { level: answer?.threshold ?? null, share: answer?.alpha, asked, error };
}

/** Whether a log density counts as little data. null is a density of 0. */
export const isLittle = (logDensity, level) => level !== null && (logDensity ?? -Infinity) < level;
