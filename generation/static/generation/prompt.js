// A press on a variable's name writes it where the cursor stands in the text written last.
const form = document.getElementById("prompt-form");
let area = form.elements.text;
for (const one of [form.elements.text, form.elements.negative_text]) one.addEventListener("focus", () => (area = one));
for (const button of form.querySelectorAll("[data-put]")) {
  button.addEventListener("click", () => {
    area.setRangeText(`{${button.dataset.put}}`, area.selectionStart, area.selectionEnd, "end");
    area.focus();
    area.dispatchEvent(new Event("input", { bubbles: true }));
  });
}
