/** Light, dark, or what the system prefers; remembered on this machine. */

const CHOICES = ["system", "light", "dark"];
const KEY = "sorawm-theme";
const root = document.documentElement;

function remembered() {
  try {
    const choice = localStorage.getItem(KEY);
    return CHOICES.includes(choice) ? choice : "system";
  } catch {
    return "system"; // storage may be forbidden
  }
}

function choose(choice) {
  root.dataset.theme = choice;
  try {
    localStorage.setItem(KEY, choice);
  } catch {
    // then it holds until the page is left
  }
  dispatchEvent(new Event("themechange"));
}

/** @param {HTMLElement} group holds one radio button for each choice. */
export function offerThemes(group) {
  for (const radio of group.querySelectorAll("input")) {
    radio.checked = radio.value === root.dataset.theme;
    radio.addEventListener("change", () => choose(radio.value));
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () =>
    dispatchEvent(new Event("themechange")),
  );
}

root.dataset.theme = remembered();
