// Runs before the first paint, so that a dark page does not flash white. Loaded in the head, not deferred.
// The choice is kept in a cookie, so that the server can already write it into the page; without one the system's counts.
const root = document.documentElement;
const systemDark = window.matchMedia("(prefers-color-scheme: dark)");

function chosen() {
    const found = document.cookie.split("; ").find((part) => part.startsWith("theme="));
    return found ? found.slice("theme=".length) : "auto";
}

function apply() {
    const choice = chosen();
    const theme = choice === "light" || choice === "dark" ? choice : systemDark.matches ? "dark" : "light";
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
    const choice = button.dataset.themeChoice;
    const system = systemDark.matches ? "dark" : "light";
    const age = choice === system || choice === "auto" ? 0 : 31536000; // what the system says needs no cookie
    const secure = location.protocol === "https:" ? "; Secure" : "";
    document.cookie = `theme=${choice}; Path=/; Max-Age=${age}; SameSite=Lax${secure}`;
    apply();
    // The pressed button hides; its sister takes the focus.
    [...document.querySelectorAll("[data-theme-choice]")].find((other) => other !== button && other.offsetParent)?.focus();
});
