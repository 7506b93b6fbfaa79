// Copy buttons, times in the viewer's zone, and the focus after a part of the page was replaced.
// Pages work without this script, except for the copy buttons.
"use strict";

(() => {
  const announce = (text) => {
    const region = document.getElementById("announcement");
    if (region) region.textContent = text;
  };

  // Lines break between the date and the time only.
  const date = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });
  const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
  const joined = (text) => text.replaceAll(" ", "\u00a0");
  const format = (moment) => `${joined(date.format(moment))} ${joined(clock.format(moment))}`;

  const prepare = (root) => {
    for (const time of root.querySelectorAll("time[datetime]")) {
      const moment = new Date(time.dateTime);
      if (time.title || Number.isNaN(moment.getTime())) continue;
      time.title = time.textContent;
      time.textContent = format(moment);
    }
    for (const button of root.querySelectorAll("button[data-copy]")) {
      button.hidden = !navigator.clipboard;
    }
  };

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button[data-copy]");
    if (button) {
      const word = button.querySelector("[aria-hidden]");
      try {
        await navigator.clipboard.writeText(button.dataset.copy);
        word.textContent = "Copied";
        announce("Copied");
      } catch {
        word.textContent = "Not copied";
        announce("The browser did not allow the copy");
      }
      setTimeout(() => { word.textContent = "Copy"; }, 2000);
    }
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      if (!menu.contains(event.target)) menu.open = false;
    }
  });

  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      menu.open = false;
      menu.querySelector("summary").focus();
    }
  });

  // Live parts: a response that is another page, such as the sign-in, is opened as a whole.
  const states = () => Array.from(document.querySelectorAll(".state"), (one) => one.textContent).join();
  let focused = "";
  let before = "";
  document.addEventListener("htmx:beforeSwap", (event) => {
    const { xhr, serverResponse, target } = event.detail;
    const same = new URL(xhr.responseURL).pathname === location.pathname;
    if (!same || !serverResponse.includes(`id="${target.id}"`)) {
      event.detail.shouldSwap = false;
      location.reload();
    }
    focused = document.activeElement ? document.activeElement.id : "";
    before = states();
  });
  document.addEventListener("htmx:load", (event) => prepare(event.detail.elt));
  document.addEventListener("htmx:afterSettle", () => {
    const element = focused && document.getElementById(focused);
    if (element && element !== document.activeElement) element.focus({ preventScroll: true });
    if (states() !== before) announce("A state on this page has changed");
  });

  prepare(document);
  const error = document.getElementById("form-error");
  if (error) error.focus();
})();
