// Numbers in memory that both threads have: what the one that computes says, and the other reads while that computes.

/** calls counts the calls of stages, in is the place of the stage, from 1, that one is in; stop is not 0 when the run is to end. */
export const CELLS = { calls: 0, in: 1, stop: 2, length: 3 };

/** The totals that progress is told by; -1 is nothing. */
export const TOTALS = { rows: 0, bytes: 1, encodedRows: 2, encodedBytes: 3, length: 4 };

export const newCells = () => new Int32Array(new SharedArrayBuffer(CELLS.length * Int32Array.BYTES_PER_ELEMENT));

export const newTotals = () => new Float64Array(new SharedArrayBuffer(TOTALS.length * Float64Array.BYTES_PER_ELEMENT)).fill(-1);
