// The keyboard: what each key does, in the one table that the help is made of too.

/** Commands by key; `hold` ones begin when the key goes down and end when it comes up. */
export const TABLE = [
  ["Say", [
    ["Left click | Enter", "this belongs to the object"],
    ["Right click | Alt+click | Shift+Enter", "this does not"],
    ["Drag", "a scribble along it (right or Alt: along what does not belong)"],
    ["Shift+drag", "a box around it"],
    ["Drag a disc", "put that click elsewhere"],
    ["X | Delete", "take back what is under the pointer or the crosshair"],
    ["0 … 9", "with a network of several classes: say this class (0: none); else: the object of that number"],
    ["/", "find a class by its name, where there are many"],
    ["M", "let plain clicks say “not this”, and back"],
  ]],
  ["Tools", [["C", "click and scribble"], ["B", "box"], ["L", "lasso"], ["E", "erase from the mask"], ["G", "give back to the mask"]]],
  ["Go back and forth", [
    ["Ctrl+Z | Z", "undo"], ["Ctrl+Shift+Z | Y", "redo"], ["R", "forget all that was said of this object (undo brings it back)"],
    ["Esc", "stop: what is drawn, or being refined"],
  ]],
  ["Objects", [["O", "another object"], [", | .", "the object before, and after"]]],
  ["Photos", [["N | P", "next and previous photo"], ["D", "done, and on to the next"], ["S", "skip it, and on to the next"]]],
  ["Look", [
    ["Wheel | pinch | + | −", "zoom"], ["Space+drag | two fingers", "move the photo"], ["F", "fit the photo"],
    ["V", "fill, outline, cut-out, classes"], ["[ | ]", "less and more opacity"],
    ["Hold Q", "the photo alone"], ["Hold W", "the network’s own mask, before you said anything"],
  ]],
  ["Without a mouse", [
    ["← ↑ → ↓", "move a crosshair (with Shift: by single pixels)"], ["Enter | Shift+Enter", "click there, or say “not this”"],
    ["Enter", "with the box tool: a corner, then the opposite one"], ["?", "this help"],
  ]],
];

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** Listens to the whole page; typing into a field, or a dialog, is left alone. */
export function listen(commands, stage) {
  const held = new Set();
  document.addEventListener("keydown", (event) => {
    if (event.target.closest("input:not([type=range]):not([type=checkbox]), dialog, select, textarea")) return;
    const graph = event.getModifierState("AltGraph"); // which types characters, though some systems call it Ctrl and Alt
    const ctrl = (event.ctrlKey || event.metaKey) && !graph;
    const key = meant(event);
    const onButton = event.target.closest("button, label, input, a");
    const run = (name, ...given) => {
      event.preventDefault();
      if (!event.repeat || REPEATED.includes(name)) commands[name](...given);
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
      return run("peek", key === "q" ? "photo" : "plain");
    }
    if (/^[0-9]$/.test(key)) return run("number", Number(key));
    if (SIMPLE[key]) run(...SIMPLE[key]);
  });
  document.addEventListener("keyup", (event) => {
    const key = meant(event);
    if (key === " ") commands.space(false);
    if (held.delete(key)) commands.peek(null);
  });
  window.addEventListener("blur", () => {
    commands.space(false);
    if (held.size) commands.peek(null);
    held.clear();
  });
}

/** The key by its letter, or where that is none of ours (other scripts, digits that want Shift) by its place on the keyboard. */
function meant({ key, code }) {
  if (key.length > 1) return key;
  const letter = key.toLowerCase();
  if (SIMPLE[letter] || /^[a-z0-9 ]$/.test(letter)) return letter;
  return /^(?:Key([A-Z])|Digit([0-9]))$/.exec(code)?.slice(1).find(Boolean).toLowerCase() ?? letter;
}

const REPEATED = ["zoom", "opacity", "undo", "redo", "turn", "step", "crosshair"]; // while a key is held down

const SIMPLE = {
  z: ["undo"], y: ["redo"], r: ["reset"], x: ["remove"], Delete: ["remove"], Backspace: ["remove"], Escape: ["escape"],
  n: ["turn", 1], p: ["turn", -1], d: ["mark", "done"], s: ["mark", "skipped"], o: ["addObject"], ",": ["step", -1], ".": ["step", 1],
  c: ["tool", "point"], b: ["tool", "box"], l: ["tool", "lasso"], e: ["tool", "erase"], g: ["tool", "restore"], m: ["sign"],
  v: ["view"], f: ["fit"], "+": ["zoom", 1.25], "=": ["zoom", 1.25], "-": ["zoom", 0.8], "[": ["opacity", -10], "]": ["opacity", 10],
  "/": ["findClass"], "?": ["help"],
};
