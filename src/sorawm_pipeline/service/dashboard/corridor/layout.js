/** Where the corridor's parts stand: side by side where there is room, else one below the other. */

/**
 * @typedef {{x: number, y: number}} Point
 * @typedef {{x: number, y: number, width: number, height: number}} Rect
 * @typedef {{
 *   upright: boolean, width: number, height: number, radius: number,
 *   rooms: Point[], pipes: Rect[], ends: [Point, Point],
 * }} Layout pixels; a pipe lies after the room of the same index
 */

const SIDE_BY_SIDE_FROM = 660;
/** Where words begin beside parts that stand one below the other, from their middle. */
export const BESIDE = 50;

/** @param {number} width @param {number} rooms how many @returns {Layout} */
export function layout(width, rooms) {
  return width >= SIDE_BY_SIDE_FROM ? lying(width, rooms) : standing(width, rooms);
}

function lying(width, rooms) {
  const radius = Math.max(34, Math.min(50, width / 21));
  const margin = radius + 46;
  const step = (width - 2 * margin) / Math.max(1, rooms - 1);
  const y = radius + 42;
  const points = Array.from({ length: rooms }, (_, index) => ({ x: margin + index * step, y }));
  const gap = radius + 9;
  return {
    upright: false,
    width,
    height: y + radius + 86,
    radius,
    rooms: points,
    pipes: points.slice(0, -1).map(({ x }) => ({ x: x + gap, y: y - 13, width: step - 2 * gap, height: 26 })),
    ends: [
      { x: 20, y },
      { x: width - 20, y },
    ],
  };
}

function standing(width, rooms) {
  const radius = 33;
  const step = 124;
  const x = radius + 6;
  const first = radius + 46;
  const points = Array.from({ length: rooms }, (_, index) => ({ x, y: first + index * step }));
  const gap = radius + 7;
  const last = first + (rooms - 1) * step;
  return {
    upright: true,
    width,
    height: last + radius + 46,
    radius,
    rooms: points,
    pipes: points.slice(0, -1).map(({ y }) => ({ x: x - 11, y: y + gap, width: 22, height: step - 2 * gap })),
    ends: [
      { x, y: 14 },
      { x, y: last + radius + 32 },
    ],
  };
}
