// A button with data-copy="ID" copies the text of that element.
for (const button of document.querySelectorAll("[data-copy]")) {
  const words = button.textContent;
  button.addEventListener("click", async () => {
    const source = document.getElementById(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(source.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(source); // no permission: at least it is marked, ready for Ctrl-C
      button.textContent = "Press Ctrl-C";
    }
    setTimeout(() => (button.textContent = words), 2000);
  });
}
