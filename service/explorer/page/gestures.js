// Pointers on a canvas: hovering, clicks, drags, lassos, the wheel and two fingers, told in pixels of the canvas. One finger and
// the wheel scroll the page, as everywhere else: the style of the canvas leaves them to the browser (touch-action).
// Knows nothing of what the canvas shows.

const STILL = 4; // pixels within which a press is a click
const STILL_TOUCH = 10;
const WHEEL = 0.0016; // logarithm of the zoom for each pixel that a wheel turns

/**
 * Listen to a canvas; a function that stops it. `told` has hover(px, py), leave(), click(px, py, isTouch), drag(dx, dy), dragged(),
 * zoom(factor, px, py), lasso(points), lassoed(points), scrolled("touch" or "wheel") when the page scrolls instead, and
 * isLasso(event), which says whether a drag is a lasso. The wheel zooms with Ctrl, as which a pinch on a touchpad comes, too, and
 * after a press on the canvas until the pointer leaves it.
 */
export function listen(canvas, told) {
  const held = new Map(); // pointer -> [px, py]
  let gesture = null; // "press", "drag", "lasso" or "pinch"
  let start = null;
  let corners = [];
  let isOurs = false; // the wheel, after a press
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const distance = ([a, b], [c, d]) => Math.hypot(a - c, b - d);

  const down = (event) => {
    if (event.button !== 0) return;
    isOurs = true;
    held.set(event.pointerId, place(event));
    canvas.setPointerCapture(event.pointerId);
    if (held.size > 1) {
      gesture = "pinch";
      return;
    }
    start = place(event);
    corners = [start];
    gesture = told.isLasso(event) ? "lasso" : "press";
    if (event.pointerType !== "touch") told.hover(...start); // a finger may be about to scroll
  };

  const move = (event) => {
    const now = place(event);
    const before = held.get(event.pointerId);
    if (!before) return told.hover(...now);
    if (gesture === "pinch") {
      if (held.size < 2) return;
      const [first, second] = [...held.values()];
      const apart = distance(first, second);
      held.set(event.pointerId, now);
      const [one, other] = [...held.values()];
      const middle = [(one[0] + other[0]) / 2, (one[1] + other[1]) / 2];
      told.drag(middle[0] - (first[0] + second[0]) / 2, middle[1] - (first[1] + second[1]) / 2);
      if (apart > 0) told.zoom(distance(one, other) / apart, ...middle);
      return;
    }
    held.set(event.pointerId, now);
    const isTouch = event.pointerType === "touch";
    if (gesture === "press" && distance(start, now) > (isTouch ? STILL_TOUCH : STILL)) {
      gesture = isTouch ? "swipe" : "drag";
      if (isTouch) told.scrolled("touch");
    }
    if (gesture === "drag") told.drag(now[0] - before[0], now[1] - before[1]);
    if (gesture === "lasso" && distance(corners.at(-1), now) > STILL) {
      corners.push(now);
      told.lasso(corners);
    }
    if (gesture !== "drag" && !isTouch) told.hover(...now); // what is dragged stays at the pointer
  };

  const up = (event) => {
    if (!held.delete(event.pointerId) || held.size) return;
    if (gesture === "press" && event.type === "pointercancel") told.scrolled("touch"); // the browser has taken it
    if (gesture === "press" && event.type === "pointerup") {
      told.hover(...start);
      told.click(...start, event.pointerType === "touch");
    }
    if (gesture === "lasso") told.lassoed(corners);
    if (gesture === "drag" || gesture === "pinch") told.dragged();
    gesture = null;
  };

  const turn = (event) => {
    if (!event.ctrlKey && !event.metaKey && !isOurs) return told.scrolled("wheel");
    event.preventDefault();
    const pixels = event.deltaY * (event.deltaMode === 1 ? 16 : 1);
    told.zoom(Math.exp(-Math.max(-400, Math.min(400, pixels)) * WHEEL), ...place(event));
  };

  const leave = () => {
    isOurs = false;
    told.leave();
  };

  // A browser that has begun to scroll with the first finger would go on with the second.
  const touch = (event) => event.touches.length > 1 && event.cancelable && event.preventDefault();

  const listeners = { pointerdown: down, pointermove: move, pointerup: up, pointercancel: up, pointerleave: leave, wheel: turn, touchstart: touch, touchmove: touch };
  for (const [name, listener] of Object.entries(listeners)) canvas.addEventListener(name, listener, { passive: false });
  return () => {
    for (const [name, listener] of Object.entries(listeners)) canvas.removeEventListener(name, listener);
  };
}
