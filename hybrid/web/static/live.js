// Looks at the page again when something happened in the cluster; without it, pages are as new as their last load.
"use strict";
(() => {
  const soon = () => document.body.hasAttribute("data-soon");
  let waiting = null;
  const busy = () => {
    const at = document.activeElement;
    return at && at.closest("main form") && at.tagName !== "BUTTON";
  };
  const typed = () =>
    [...document.querySelectorAll("main input:not([type=hidden]), main select")].some((field) =>
      field.type === "checkbox" ? field.checked !== field.defaultChecked
        : field.tagName === "SELECT" ? [...field.options].some((o) => o.selected !== o.defaultSelected && o.index > 0)
        : field.value !== field.defaultValue);
  const look = async () => {
    waiting = null;
    if (document.hidden || busy() || typed()) return;
    try {
      const answer = await fetch(location.href, { credentials: "same-origin" });
      if (answer.redirected && new URL(answer.url).pathname === "/sign-in") return void location.reload();
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.querySelector("main");
      if (!fresh || busy() || typed()) return;
      document.querySelector("main").replaceWith(fresh);
      document.querySelector("footer").replaceWith(page.querySelector("footer"));
      document.title = page.title;
      document.body.toggleAttribute("data-soon", page.body.hasAttribute("data-soon"));
    } catch { /* the server is away: the stream tells when it is back */ }
    if (soon()) again(1000);
  };
  const again = (ms) => { if (waiting === null) waiting = setTimeout(look, ms); };
  const stream = new EventSource("/v1/events");
  stream.onmessage = () => again(300);
  stream.onopen = () => again(300);
  stream.onerror = () => { document.querySelector("footer").textContent = "no answer from the server; trying again"; };
  document.addEventListener("visibilitychange", () => again(300));
  setInterval(() => again(0), 15000);
  if (soon()) again(1000);
})();
