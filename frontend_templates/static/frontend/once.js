// A form is sent once: the second click of an impatient hand changes nothing. Forms that a script sends see to themselves.
const GIVEN_UP_MS = 8000; // the answer was lost, or somebody pressed Escape: it may be sent again

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (event.defaultPrevented || form.getAttribute("method")?.toLowerCase() !== "post") return;
  if ("sent" in form.dataset) return event.preventDefault();
  form.dataset.sent = "";
  setTimeout(() => delete form.dataset.sent, GIVEN_UP_MS);
});

// Back from the browser's memory: it is a new page to whoever sees it.
addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
});
