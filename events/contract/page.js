// Hides every part that doesn't hold all words of the search, in any order.
const search = document.querySelector("input");
const parts = document.querySelectorAll("[data-text]");
search.addEventListener("input", () => {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const part of parts) {
    part.hidden = !words.every((word) => part.dataset.text.includes(word));
  }
  for (const section of document.querySelectorAll("section")) {
    section.hidden = ![...section.querySelectorAll("[data-text]")].some((part) => !part.hidden);
  }
});
