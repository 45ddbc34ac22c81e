// Runs before the first paint, so that a dark page does not flash white. Loaded in the head, not deferred.
const root = document.documentElement;
const systemDark = window.matchMedia("(prefers-color-scheme: dark)");

function stored() {
    try {
        return localStorage.getItem("theme");
    } catch {
        return null; // storage may be forbidden
    }
}

function apply() {
    const chosen = stored();
    const theme = chosen === "light" || chosen === "dark" ? chosen : systemDark.matches ? "dark" : "light";
    if (root.dataset.bsTheme === theme) return;
    root.dataset.bsTheme = theme;
    document.dispatchEvent(new CustomEvent("bursar:theme", { detail: theme }));
}

apply();
systemDark.addEventListener("change", apply);
document.addEventListener("click", (event) => {
    const button = event.target.closest?.("[data-theme-choice]"); // light | dark | auto
    if (!button) return;
    event.preventDefault();
    try {
        localStorage.setItem("theme", button.dataset.themeChoice);
    } catch {
        root.dataset.bsTheme = button.dataset.themeChoice; // for this page only
        return;
    }
    apply();
});
