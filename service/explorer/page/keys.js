// The keys that work everywhere on the page: Ctrl+Z, and a and b for the picture below the pointer.
// Knows nothing of what the picture is; its own listener does the work.

import { useEffect } from "./vendor/preact-htm.js";
import { undo } from "./state.js";

const TYPING = "input:not([type=range], [type=checkbox], [type=radio]), select, textarea";

/** Listen to them as long as the component is there. */
export function usePageKeys() {
  useEffect(() => {
    let isPointing = false; // the pointer was moved last, not the focus
    const point = () => (isPointing = true);
    const focus = () => (isPointing = false);
    const press = (event) => {
      const isPlain = !event.ctrlKey && !event.metaKey && !event.altKey;
      if (event.target.matches?.(TYPING)) return;
      if ((event.ctrlKey || event.metaKey) && event.key === "z") {
        event.preventDefault();
        undo();
      }
      const below = isPlain && /^[ab]$/.test(event.key) && isPointing && event.isTrusted && document.querySelector("[data-carries]:hover");
      if (!below || below === event.target) return;
      event.stopPropagation(); // what has the focus is not meant
      below.dispatchEvent(new KeyboardEvent("keydown", { key: event.key }));
    };
    addEventListener("pointermove", point);
    addEventListener("focusin", focus);
    addEventListener("keydown", press, true);
    return () => {
      removeEventListener("pointermove", point);
      removeEventListener("focusin", focus);
      removeEventListener("keydown", press, true);
    };
  }, []);
}
