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

  // Live parts. A request has the version that is shown, and is answered with 304 if it is current.
  // Hidden pages request nothing until they are visible again.
  const stale = document.getElementById("stale");
  document.addEventListener("htmx:configRequest", (event) => {
    const { version } = event.detail.elt.dataset;
    if (version) event.detail.headers["If-None-Match"] = `"${version}"`;
  });
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (document.hidden) event.preventDefault();
  });
  document.addEventListener("visibilitychange", () => {
    if (document.hidden || !window.htmx) return;
    for (const part of document.querySelectorAll("[data-version]")) htmx.trigger(part, "refresh");
  });
  // One failure may be a busy process.
  let failures = 0;
  const interrupted = (failed) => {
    failures = failed ? failures + 1 : 0;
    const now = failures > 1;
    if (!stale || stale.hidden !== now) return;
    stale.hidden = !now;
    announce(now ? stale.textContent.trim() : "Live updates have resumed");
  };
  document.addEventListener("htmx:sendError", () => interrupted(true));
  document.addEventListener("htmx:timeout", () => interrupted(true));

  // A response that is another page, such as the sign-in, is opened as a whole.
  const states = () => Array.from(document.querySelectorAll(".state"), (one) => one.textContent).join();
  let focused = "";
  let before = "";
  document.addEventListener("htmx:beforeSwap", (event) => {
    const { xhr, serverResponse, target } = event.detail;
    interrupted(xhr.status >= 500);
    if (xhr.status === 304 || xhr.status >= 500) {
      event.detail.shouldSwap = false;
      return;
    }
    const same = new URL(xhr.responseURL).pathname === location.pathname;
    if (!same || !serverResponse.includes(`id="${target.id}"`)) {
      event.detail.shouldSwap = false;
      location.reload();
      return;
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
  // On a narrow window, tabs are wider than it.
  const tab = document.querySelector(".tabs [aria-current]");
  if (tab) tab.scrollIntoView({ block: "nearest", inline: "nearest" });
  const error = document.getElementById("form-error");
  if (error) error.focus();
})();
