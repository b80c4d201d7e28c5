// The letters of the map: beside their points, or at the edge, with an arrow that points to what is outside of the view.
// Knows nothing of what they mean.

const EDGE = 24; // CSS pixels from the edge to the middle of a letter, and between letters there

/** Draw letters, `marks`: {at, letter, corner} of which `corner`, [-1 or 1, -1 or 1], says on which side of its point it stands. */
export function drawLetters(context, view, colors, marks) {
  const atEdge = [];
  for (const { at, letter, corner } of marks) {
    const [x, y] = view.toPixels(...at);
    const [width, height] = view.size;
    if (x >= 0 && y >= 0 && x <= width && y <= height) {
      drawLetter(context, colors, letter, x + corner[0] * 13, y + corner[1] * 13);
      continue;
    }
    const place = placeAtEdge([x, y], view.size, atEdge);
    atEdge.push(place);
    drawArrow(context, colors, place, Math.atan2(y - place[1], x - place[0]));
    drawLetter(context, colors, letter, ...place);
  }
}

/** The place at the edge that is nearest to a point outside; where a letter stands there already, one beside it. */
function placeAtEdge([x, y], [width, height], taken) {
  const within = (value, most) => Math.min(most - EDGE, Math.max(EDGE, value));
  const place = [within(x, width), within(y, height)];
  const along = x < 0 || x > width ? 1 : 0; // a row down the left or right edge, or along the top or bottom
  const step = place[along] > [width, height][along] / 2 ? -EDGE : EDGE;
  while (taken.some(([px, py]) => Math.hypot(place[0] - px, place[1] - py) < EDGE)) place[along] += step;
  return place;
}

function drawArrow(context, colors, [x, y], angle) {
  context.save();
  context.translate(x, y);
  context.rotate(angle);
  context.beginPath();
  for (const corner of [[22, 0], [9, -9], [9, 9]]) context.lineTo(...corner);
  context.closePath();
  fillOutlined(context, colors);
  context.restore();
}

function drawLetter(context, colors, letter, x, y) {
  context.beginPath();
  context.roundRect(x - 9, y - 9, 18, 18, 4);
  fillOutlined(context, colors);
  context.fillStyle = colors.back;
  context.font = "bold 13px system-ui, sans-serif";
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillText(letter, x, y + 0.5);
}

function fillOutlined(context, { fore, back }) {
  context.fillStyle = fore;
  context.strokeStyle = back;
  context.lineWidth = 2;
  context.stroke();
  context.fill();
}
