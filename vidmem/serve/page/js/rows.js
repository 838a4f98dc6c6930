/**
 * Where the items of a grid are: items of one size in rows, in sections with headings.
 * @typedef {{label?: string, count: number}} Section  a heading (none without a label) and how many items follow it
 * @typedef {{start: number, first: number, count: number, label?: string}} Place  top of a section's rows in px, and its
 *   first item
 */

export const HEADING = 56;
const TALLEST = 16_000_000;  // px; browsers place nothing reliably beyond this

/**
 * @param {Section[]} sections @param {number} wide the width of the grid
 * @param {{columns: number, height: number}} size of a row, without the gap @param {number} gap
 */
export function layout(sections, wide, size, gap) {
  const columns = Math.max(1, size.columns);
  const width = (wide - gap * (columns - 1)) / columns;
  const height = size.height + gap;
  /** @type {Place[]} */ const places = [];
  let top = 0, first = 0;
  for (const { label, count } of sections) {
    if (label !== undefined) top += HEADING;
    places.push({ start: top, first, count, label });
    top += Math.ceil(count / columns) * height;
    first += count;
  }

  /** The last section for which `test` is true. @param {(place: Place) => boolean} test */
  function lastWhere(test) {
    let low = 0, high = places.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (test(places[middle])) low = middle; else high = middle - 1;
    }
    return places[low];
  }

  return {
    columns, width, height, places,
    count: first,
    tall: Math.min(Math.max(0, top - gap), TALLEST),
    /** The upper left corner of an item. @param {number} index */
    position(index) {
      const place = lastWhere((p) => p.first <= index);
      const within = index - place.first;
      return { x: (within % columns) * (width + gap), y: place.start + Math.floor(within / columns) * height };
    },
    /** The first item of the row at a height, or of the one after it. @param {number} y */
    indexAt(y) {
      const place = lastWhere((p) => p.start <= y);
      return place.first + Math.min(Math.max(0, Math.floor((y - place.start) / height)) * columns, place.count);
    },
  };
}
