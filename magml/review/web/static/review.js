// Conveniences only: without this file every page can be read and every form signed.
"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // On a narrow screen the list comes first and its filters are folded.
  if (window.matchMedia("(max-width: 900px)").matches) {
    for (const one of all("details.facets")) one.open = false;
  }

  for (const button of all("button[data-open]")) {
    const parts = () => all(`details.${button.dataset.open}, details.more`);
    button.hidden = false;
    button.addEventListener("click", () => {
      const open = parts().some((one) => !one.open);
      for (const one of parts()) one.open = open;
      button.textContent = open ? "Close all" : "Open all";
    });
  }

  const form = document.getElementById("review");
  if (!form) return;
  const judged = document.getElementById("judged");
  const plain = judged.textContent;
  let changed = false;
  const count = () => {
    const found = all("input[data-reason]:checked");
    judged.textContent = found.length
      ? `With verdicts on ${found.length} reason${found.length > 1 ? "s" : ""}: ` +
        found.map((one) => `${one.dataset.reason} (${one.value})`).join(", ")
      : plain;
  };
  document.addEventListener("change", (event) => {
    if (event.target.form !== form) return;
    changed = true;
    count();
  });
  form.addEventListener("input", () => { changed = true; });
  let sent = false;
  form.addEventListener("submit", (event) => {
    if (sent) event.preventDefault();
    sent = true;
    changed = false;
  });
  window.addEventListener("pageshow", () => { sent = false; });
  window.addEventListener("beforeunload", (event) => { if (changed) event.preventDefault(); });
  count();
  const wrong = document.getElementById("wrong");
  if (wrong) wrong.scrollIntoView({ block: "center" });
})();
