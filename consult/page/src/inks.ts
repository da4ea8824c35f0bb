/** Colours and letters of curves: no two curves have the same letter, and colour is never the only sign. */
const COLOURS = ["#2f9e8f", "#d9822b", "#5b7fd6", "#c2477f", "#7a9a2e", "#8e63c7", "#c5523f", "#3a93b8", "#9c7a3c", "#5d8a66", "#b05fa8", "#6d7f95"];
const LETTERS = "abcdefghijkl";

export function colourOf(ink: number): string {
  return COLOURS[ink % COLOURS.length] ?? "#888";
}

/** From the thirteenth curve on colours come again, and letters get a number. */
export function letterOf(ink: number): string {
  return (LETTERS[ink % LETTERS.length] ?? "?") + (ink >= LETTERS.length ? String(Math.floor(ink / LETTERS.length) + 1) : "");
}
