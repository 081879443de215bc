// Shows under each text with a limit how many characters it has. The limit itself is checked on the server.
for (const area of document.querySelectorAll("textarea[data-most]")) {
  const most = Number(area.dataset.most);
  const line = document.createElement("span");
  line.className = "help number";
  area.after(line);
  const count = () => {
    const length = [...area.value].length;
    line.textContent = `${length.toLocaleString("en")} of ${most.toLocaleString("en")} characters`;
    line.classList.toggle("error-text", length > most);
  };
  area.addEventListener("input", count);
  count();
}
