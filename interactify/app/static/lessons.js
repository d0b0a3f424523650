// Says that the network learns from the photos that are done, and what came out of it.

import * as api from "./api.js";
import { $, announce, notice } from "./page.js";

const EVERY = 2000; // milliseconds between two questions

export function watchLessons() {
  let known = null; // how many lessons had ended at the last question
  const ask = async () => {
    try {
      const { learning, count, note } = await api.lessons();
      $("learning").hidden = !learning;
      if (known !== null && count > known && note) {
        notice(note);
        announce(note);
      }
      known = count;
    } catch {
      $("learning").hidden = true; // the server has stopped, which other requests say
    }
  };
  ask();
  setInterval(ask, EVERY);
}
