// The frame that is shown: chosen by hand, or one after the other, there and back.
// Knows nothing of what a frame is.

import { useEffect, useState } from "./vendor/preact-htm.js";
import { set } from "./state.js";

const MILLISECONDS = 120;
const MILLISECONDS_CALM = 700; // for people who want less motion: slowly, and once

/**
 * The frame of the state, or while it plays that of the moment, which the state gets when it ends: {frame, isPlaying, toggle, goTo}.
 */
export function usePlay(chosen, count) {
  const [place, setPlace] = useState(null); // on the way there and back, which has 2 (count - 1) places; null: it does not play
  const isPlaying = place !== null;
  const last = count - 1;
  const frame = isPlaying ? last - Math.abs(last - (place % (2 * last))) : chosen;
  const goTo = (next) => {
    setPlace(null);
    set({ frame: next }, { undoable: false });
  };
  const isCalm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  useEffect(() => {
    if (!isPlaying) return undefined;
    const timer = setInterval(() => setPlace((now) => now + 1), isCalm ? MILLISECONDS_CALM : MILLISECONDS);
    return () => clearInterval(timer);
  }, [isPlaying]);
  useEffect(() => {
    if (isPlaying && isCalm && place >= last) goTo(last);
  }, [place]);
  return { frame, isPlaying, goTo, toggle: () => (isPlaying ? goTo(frame) : setPlace(chosen === last ? 0 : chosen)) };
}
