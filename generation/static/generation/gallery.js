// The gallery's cards: four pictures of each by pointer, tap or keys; arrow keys go from card to card.

const grid = document.querySelector("[data-gallery]");
const cards = () => [...grid.querySelectorAll(".gallery-card")];
const ticked = document.querySelector("[data-ticked]");

function show(button) {
  const link = button.closest(".gallery-card").querySelector(".gallery-picture");
  const image = link.querySelector("img");
  if (image.getAttribute("src") !== button.dataset.src) image.src = button.dataset.src;
  link.classList.toggle("shows-product", button.classList.contains("is-product"));
  for (const other of button.parentElement.children) other.setAttribute("aria-pressed", String(other === button));
}

const boxes = () => [...grid.querySelectorAll(".gallery-tick input:checked")];

// The bar that sends them stands there only while something is ticked (gallery.css); whoever can't see it is told.
function count() {
  if (!ticked) return;
  const n = boxes().length;
  ticked.textContent = `Send the ${n} ticked`;
  const said = document.querySelector("[data-ticked-said]");
  const words = n ? `${n} ticked. Press s to send ${n === 1 ? "it" : "them"} to annotators.` : "Nothing is ticked.";
  if (n || said.textContent) said.textContent = words;
}

function untick() {
  const all = boxes();
  for (const box of all) box.checked = false;
  count();
  all.at(-1)?.focus();
}

// How many cards stand beside each other: those with the top of the first.
function perRow(all) {
  const top = all[0].getBoundingClientRect().top;
  return Math.max(1, all.findIndex((card) => Math.abs(card.getBoundingClientRect().top - top) > 4));
}

function go(from, by) {
  const all = cards();
  const next = all[Math.min(all.length - 1, Math.max(0, (from ? all.indexOf(from) : -1) + by))];
  next?.querySelector("a").focus();
}

function key(event) {
  const inField = event.target.closest("input:not([type=checkbox]), select, textarea");
  if (inField || event.altKey || event.ctrlKey || event.metaKey || !cards().length) return;
  const card = event.target.closest(".gallery-card");
  const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: perRow(cards()), ArrowUp: -perRow(cards()) };
  if (event.key in steps && (card || event.target === document.body)) go(card, card ? steps[event.key] : 1);
  else if (card && "1234".includes(event.key)) {
    const button = card.querySelectorAll(".gallery-views button")[Number(event.key) - 1];
    if (button) show(button);
  } else if (card && event.key === "x") card.querySelector(".gallery-tick input")?.click();
  else if (event.key === "s" && ticked && boxes().length) document.getElementById("send-project").focus();
  else return;
  event.preventDefault();
}

// Older cards are put under those that are there. When one of them is opened, the address becomes that of its page: whoever
// comes back, and finds the page loaded anew, is with the card that was left.
function added(event) {
  for (const card of cards()) card.dataset.page ??= event.detail.pathInfo.requestPath;
  count();
}

function leave(event) {
  const card = event.target.closest("a") && event.target.closest(".gallery-card");
  if (!card || event.ctrlKey || event.metaKey || event.shiftKey) return; // opened beside this page: nobody leaves it
  history.scrollRestoration = "manual";
  history.replaceState({ ...history.state, card: card.dataset.candidate }, "", card.dataset.page);
}

function comeBack() {
  const card = history.state?.card && grid.querySelector(`[data-candidate="${history.state.card}"]`);
  card?.querySelector("a").focus({ preventScroll: true });
  card?.scrollIntoView({ block: "center" });
}

if (grid) {
  for (const card of cards()) card.dataset.page = location.href;
  comeBack();
  grid.addEventListener("click", (event) => {
    const button = event.target.closest(".gallery-views button");
    if (button) show(button);
  });
  // With a mouse, going over the letters is enough.
  grid.addEventListener("pointerover", (event) => {
    const button = event.pointerType === "mouse" && event.target.closest(".gallery-views button");
    if (button) show(button);
  });
  grid.addEventListener("change", count);
  document.addEventListener("keydown", key);
  grid.addEventListener("click", leave);
  document.body.addEventListener("htmx:afterSwap", added);
  document.querySelector("[data-untick]")?.addEventListener("click", untick);
  // Come back to by the browser's own button, the page still has its ticks.
  window.addEventListener("pageshow", count);
  count();
}
