// What is said for a moment: [text, say]. Knows nothing of where it is shown.

import { useEffect, useRef, useState } from "./vendor/preact-htm.js";

const MILLISECONDS = 1500;

export function useNotice() {
  const [text, setText] = useState(null);
  const timer = useRef(null);
  useEffect(() => () => clearTimeout(timer.current), []);
  const say = (next) => {
    clearTimeout(timer.current);
    timer.current = setTimeout(() => setText(null), MILLISECONDS);
    setText(next);
  };
  return [text, say];
}
