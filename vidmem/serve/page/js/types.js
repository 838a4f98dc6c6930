/**
 * The documents of the API that the page reads, for editors and reviewers; no code.
 * @typedef {{id: string, source: string, source_id: number, start_s: number | null, end_s: number | null,
 *   start_ns: string | null, end_ns: string | null, frame_s: number | null, frame_ns: string, recorded: string | null,
 *   recorded_by: string | null, score: number, probability: number | null, confidence: number, box: number[],
 *   tracks: number[], picture: string | null}} Sighting  box: x0, y0, x1, y1 in pixels of the upright picture
 * @typedef {{found: boolean, query: Object<string, any>, sightings: Sighting[], near_misses: Sighting[],
 *   likelier: Sighting | null, total: number, notes: string[]}} Where
 * @typedef {{name: string, named: boolean, probability: number | null, seen_s: number, sightings: number,
 *   tracks: number[], last: Sighting, best: Sighting}} Thing
 * @typedef {{start_s: number, end_s: number, start_ns: string, end_ns: string}} Span
 * @typedef {{name: string, named: boolean, probability: number | null, tracks: number[], spans: Span[], best: Sighting}} Lane
 * @typedef {{id: number, source: string, kind: string, state: string, duration_s: number, duration_ns: string,
 *   width: number, height: number, frames: number, recorded: string | null, playable: boolean | null,
 *   unplayable: string | null,
 *   indexed_to_ns: string | null, offset_ns: string}} Source  a time in ns is 10^9 times that of a video element plus offset_ns
 * @typedef {{t_ns: string, t_s: number, boxes: {track: number, box: number[]}[]}} BoxFrame
 */
export {};
