// A row of buttons of which one is chosen: a radio group, with arrow keys.

import { icon } from "./icons.js";

/** Fills `container` with options {value, label, icon?, title?, swatch?}; returns {value, choose(value), narrow(text)}. */
export function choice(container, options, picked) {
  const group = { value: options[0]?.value ?? null, choose, narrow };
  const buttons = options.map((option) => {
    const button = document.createElement("button");
    button.type = "button";
    button.role = "radio";
    button.title = option.title ?? option.label;
    if (option.icon) {
      button.classList.add("icon");
      button.setAttribute("aria-label", option.label);
      button.append(icon(option.icon));
    } else {
      if (option.swatch) button.append(swatch(option.swatch));
      const text = document.createElement("span");
      text.textContent = option.label;
      button.append(text);
      if (option.key) button.append(key(option.key));
    }
    button.addEventListener("click", () => choose(option.value));
    return button;
  });
  container.replaceChildren(...buttons);
  container.onkeydown = (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    const visible = options.filter((_, k) => !buttons[k].hidden);
    const at = visible.findIndex((option) => option.value === group.value);
    choose(visible[(at + step + visible.length) % visible.length].value);
    buttons[options.findIndex((option) => option.value === group.value)].focus();
  };

  function mark() {
    options.forEach((option, k) => {
      buttons[k].setAttribute("aria-checked", option.value === group.value);
      buttons[k].tabIndex = option.value === group.value ? 0 : -1;
    });
  }

  /** Shows the options whose label contains a text, and the chosen one; returns the first match, or undefined. */
  function narrow(text) {
    const wanted = text.trim().toLowerCase();
    const matches = options.map((option) => option.label.toLowerCase().includes(wanted));
    options.forEach((option, k) => { buttons[k].hidden = !matches[k] && option.value !== group.value; });
    return options.find((_, k) => matches[k]);
  }

  function choose(value) {
    group.value = value;
    mark();
    buttons[options.findIndex((option) => option.value === value)]?.scrollIntoView({ block: "nearest" });
    picked(value);
  }

  mark();
  return group;
}

export function swatch(colour) {
  const dot = document.createElement("i");
  dot.className = "swatch";
  dot.style.setProperty("--colour", colour);
  return dot;
}

export function key(text) {
  const element = document.createElement("kbd");
  element.textContent = text;
  return element;
}
