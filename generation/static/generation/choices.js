// Above many ticks: all, none, and a word that narrows them down. Without this script every tick is simply there.
const MANY = 6;
const SEARCHED = 20;

for (const box of document.querySelectorAll("[data-choices]")) {
  const choices = [...box.querySelectorAll(".choice")];
  if (choices.length < MANY) continue;
  const bar = document.createElement("div");
  bar.className = "row choices-bar";
  const said = document.createElement("span");
  said.className = "tiny muted number";
  const count = () => {
    const ticked = choices.filter((choice) => choice.querySelector("input").checked).length;
    said.textContent = `${ticked} of ${choices.length} ticked`;
  };
  const press = (title, checked) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "button button-small";
    button.textContent = title;
    button.addEventListener("click", () => {
      const shown = choices.filter((choice) => !choice.hidden).map((choice) => choice.querySelector("input"));
      for (const tick of shown) tick.checked = checked;
      count();
      shown[0]?.dispatchEvent(new Event("change", { bubbles: true })); // once: the sum beside it is asked for anew
    });
    return button;
  };
  if (choices.length > SEARCHED) bar.append(search(box, choices));
  bar.append(press("All", true), press("None", false), said);
  box.before(bar);
  box.addEventListener("change", count);
  count();
}

function search(box, choices) {
  const field = document.createElement("input");
  field.type = "search";
  field.className = "input choices-search";
  field.placeholder = "Find";
  field.setAttribute("aria-label", `Find among the ${box.dataset.choices}`);
  field.addEventListener("input", () => {
    const wanted = field.value.trim().toLowerCase();
    for (const choice of choices) choice.hidden = !choice.textContent.toLowerCase().includes(wanted);
  });
  // It belongs to no question that the form asks.
  field.addEventListener("change", (event) => event.stopPropagation());
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter") event.preventDefault();
  });
  return field;
}
