// What stands above the dots of the map: letters, paths and the lasso, and which dots are muted.
// Knows nothing of canvases.

import { useEffect, useState } from "./vendor/preact-htm.js";
import { METHODS } from "./methods.js";
import { project } from "./plane.js";

export const isPolygon = (numbers) => numbers?.length > 5 && numbers.length % 2 === 0;
export const pairs = (numbers) => numbers.flatMap((value, i) => (i % 2 ? [] : [[value, numbers[i + 1]]]));

/** The paths that the part "Path" shows, [{method, z: the latents of its frames}]. */
export function usePaths() {
  const [paths, setPaths] = useState([]);
  useEffect(() => {
    const take = (event) => setPaths(event.detail);
    addEventListener("paths-shown", take);
    return () => removeEventListener("paths-shown", take);
  }, []);
  return paths;
}

/** Where z, home, A, B and the paths lie on the plane. */
export function marksOf({ state, items, paths }) {
  const isHere = (z) => items.plane && z?.length === items.plane.origin.length;
  const isMoved = state.z?.join() !== state.home?.join();
  const z = state.z ?? state.home ?? items.plane?.origin.map(() => 0);
  const marks = [
    [isMoved && (state.start ?? state.home), "h", [-1, -1]],
    [paths[0]?.z[0], "A", [-1, 1]],
    [paths[0]?.z.at(-1), "B", [1, 1]],
    [z, "z", [1, -1]],
  ];
  const place = (z) => project(items.plane, z);
  const lines = paths.filter(({ z: [first] }) => isHere(first));
  return {
    marks: marks.filter(([z]) => isHere(z)).map(([z, letter, corner]) => ({ letter, corner, at: place(z) })),
    paths: lines.map(({ method, z }) => ({ points: z.map(place), dashes: METHODS[method].dashes })),
  };
}

/** Which dots are muted: those outside of the lasso, and those of other classes than the highlighted one. Null if none is. */
export function mutedOf({ classes, of }, chosen, highlight) {
  const place = classes.findIndex(({ name }) => name === highlight);
  if (!chosen && place < 0) return null;
  const isMuted = new Uint8Array(of.length).fill(chosen ? 1 : 0);
  for (const i of chosen ?? []) isMuted[i] = 0;
  if (place >= 0) of.forEach((one, i) => one !== place && (isMuted[i] = 1));
  return isMuted;
}
