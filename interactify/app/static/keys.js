// The keyboard: the table of keys for the help, and the commands that they run.

/** The help, by section: keys, and what they do. */
export const TABLE = [
  ["Interactions", [
    ["Left click | Enter", "positive click: part of the object"],
    ["Right click | Alt+click | Shift+Enter", "negative click: not part of the object"],
    ["Drag", "scribble (right button or Alt: negative)"],
    ["Shift+drag", "box"],
    ["Drag a disc", "move that click"],
    ["J | K", "narrower and wider: how far the newest interaction reaches"],
    ["X | Delete", "remove the interaction at the pointer or the crosshair"],
    ["0 … 9", "class of clicks (0: none); with one class: the object of that number"],
    ["/", "find a class by name, where there are many"],
    ["M", "plain clicks: negative, and back to positive"],
  ]],
  ["Tools", [["C", "click and scribble"], ["B", "box"], ["L", "lasso"], ["E", "erase from the mask"], ["G", "restore to the mask"]]],
  ["History", [
    ["Ctrl+Z | Z", "undo"], ["Ctrl+Shift+Z | Y", "redo"], ["R", "reset: remove all interactions of the active object"],
    ["Esc", "cancel the drawing or the refinement"],
  ]],
  ["Objects", [["O", "add an object"], [", | .", "previous and next object"]]],
  ["Photos", [["N | P", "next and previous photo"], ["D", "mark as done, open the next"], ["S", "skip, open the next"]]],
  ["View", [
    ["Wheel | pinch | + | −", "zoom"], ["Space+drag | two fingers", "move the photo"], ["F", "fit the photo"],
    ["V", "fill, outline, cut-out, classes"], ["[ | ]", "less and more opacity"],
    ["Hold Q", "photo only"], ["Hold W", "the network’s initial mask"],
  ]],
  ["Keyboard only", [
    ["← ↑ → ↓", "move the crosshair (with Shift: by single pixels)"], ["Enter | Shift+Enter", "positive or negative click there"],
    ["Enter", "box: a corner, then the opposite one; lasso: a corner"], ["Shift+Enter", "close the lasso"], ["?", "this help"],
  ]],
];

/** What is different in the help where the files are volumes: sections in the place of those of the same title. */
const OF_VOLUMES = [
  ["Slices", [["Wheel | , | . | PageUp | PageDown", "previous and next slice"], ["A", "the slices along the next axis"], ["Click in the list", "the slice of an interaction"]]],
  ["Interactions", TABLE[0][1].filter(([keys]) => !["J | K", "0 … 9", "/"].includes(keys))],
  ["Objects", []],
  ["View", [["Ctrl+wheel | pinch | + | −", "zoom"], ...TABLE.find(([title]) => title === "View")[1].slice(1)]],
];

/** The help where the files are volumes. */
export const volumeTable = ({ kinds }) => [
  OF_VOLUMES[0],
  ...TABLE.map((section) => OF_VOLUMES.find(([title]) => title === section[0]) ?? section)
    .map(([title, entries]) => [title, entries.filter(([key]) => kinds.includes("paint") || !["E", "G"].includes(key))])
    .filter(([, entries]) => entries.length),
];

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** Listens to the whole page, except for text fields and dialogs. `volumes` is what the server says of a page of volumes. */
export function listen(commands, stage, volumes) {
  if (volumes) {
    const absent = ["o", "j", "k", "/", ...(volumes.kinds.includes("paint") ? [] : ["e", "g"])];
    for (const key of absent) delete COMMANDS[key];
    Object.assign(COMMANDS, { ",": ["slice", -1], ".": ["slice", 1], PageUp: ["slice", 1], PageDown: ["slice", -1], a: ["axis"] });
  }
  const held = new Set();
  document.addEventListener("keydown", (event) => {
    if (event.target.closest("input:not([type=range]):not([type=checkbox]), dialog, select, textarea")) return;
    const graph = event.getModifierState("AltGraph"); // it types characters, though some systems report it as Ctrl and Alt
    const ctrl = (event.ctrlKey || event.metaKey) && !graph;
    const key = keyOf(event);
    const onButton = event.target.closest("button, label, input, a");
    const run = (name, ...args) => {
      event.preventDefault();
      if (!event.repeat || REPEATABLE.includes(name)) commands[name](...args);
    };
    if (ctrl) {
      if (key === "z") run(event.shiftKey ? "redo" : "undo");
      else if (key === "y") run("redo");
      return;
    }
    if (event.altKey && !graph && !ARROWS[key]) return;
    if (ARROWS[key] && (event.target === stage || event.target === document.body)) return run("crosshair", ...ARROWS[key], event.shiftKey);
    if (key === "Enter" && event.target === stage) return run("enter", event.shiftKey);
    if (key === " " && (!onButton || stage.matches(":hover"))) return run("space", true);
    if (key === "q" || key === "w") {
      held.add(key);
      return run("peek", key === "q" ? "photo" : "initial");
    }
    if (/^[0-9]$/.test(key)) return run("number", Number(key));
    if (COMMANDS[key]) run(...COMMANDS[key]);
  });
  document.addEventListener("keyup", (event) => {
    const key = keyOf(event);
    if (key === " ") commands.space(false);
    if (held.delete(key)) commands.peek(null);
  });
  window.addEventListener("blur", () => {
    commands.space(false);
    if (held.size) commands.peek(null);
    held.clear();
  });
}

/** The key by its letter, or where no command has that letter (other scripts, digits with Shift) by its position on the keyboard. */
function keyOf({ key, code }) {
  if (key.length > 1) return key;
  const letter = key.toLowerCase();
  if (COMMANDS[letter] || /^[a-z0-9 ]$/.test(letter)) return letter;
  return /^(?:Key([A-Z])|Digit([0-9]))$/.exec(code)?.slice(1).find(Boolean).toLowerCase() ?? letter;
}

const REPEATABLE = ["zoom", "opacity", "undo", "redo", "go", "step", "crosshair", "slice"]; // while a key is held down

const COMMANDS = {
  z: ["undo"], y: ["redo"], r: ["reset"], x: ["remove"], Delete: ["remove"], Backspace: ["remove"], Escape: ["escape"],
  n: ["go", 1], p: ["go", -1], d: ["mark", "done"], s: ["mark", "skipped"], o: ["addObject"], ",": ["step", -1], ".": ["step", 1],
  c: ["tool", "point"], b: ["tool", "box"], l: ["tool", "lasso"], e: ["tool", "erase"], g: ["tool", "restore"], m: ["sign"],
  j: ["reach", -1], k: ["reach", 1],
  v: ["view"], f: ["fit"], "+": ["zoom", 1.25], "=": ["zoom", 1.25], "-": ["zoom", 0.8], "[": ["opacity", -10], "]": ["opacity", 10],
  "/": ["findClass"], "?": ["help"],
};
