// Says while the service whose network the page uses does not answer: what was clicked waits for it.

import * as api from "./api.js";
import { $, announce, session } from "./page.js";

const EVERY = 1500; // milliseconds from an answer to the next question

export function watchService() {
  const away = $("away");
  const ask = async () => {
    try {
      const { trouble } = await api.service();
      const text = trouble && `Waiting for the service (${trouble}). What you click meanwhile is kept, and goes on when the service is back.`;
      if (away.textContent !== text && !text) announce("The service is back.");
      away.textContent = text;
      away.hidden = !text;
      if (!text) session.again();
    } catch {
      away.hidden = true; // the page's own server has stopped, which other requests say
    }
    setTimeout(ask, EVERY);
  };
  ask();
}
