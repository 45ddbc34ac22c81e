// What every page loads: htmx, Tabler's widgets, and a few small behaviours named by data attributes.
import * as tabler from "@tabler/core/dist/js/tabler.esm.js";
import htmx from "htmx.org/dist/htmx.esm.js";

window.bootstrap = tabler.bootstrap;

// The content security policy allows no eval and no inline script: hx-on and "js:" values are not used,
// and the indicator's style is in app.css.
htmx.config.includeIndicatorCSS = false;

function cookie(name) {
    const found = document.cookie.split("; ").find((part) => part.startsWith(`${name}=`));
    return found ? decodeURIComponent(found.slice(name.length + 1)) : "";
}

document.addEventListener("htmx:config:request", (event) => {
    const request = event.detail.ctx.request;
    if (!["GET", "HEAD"].includes((request.method || "GET").toUpperCase())) {
        request.headers["X-CSRFToken"] =
            document.querySelector('meta[name="csrf-token"]')?.content || cookie("csrftoken");
    }
});

// <form data-autosubmit>: filters apply as they are chosen; text waits until the typing stops.
let waiting;
document.addEventListener("input", (event) => {
    const form = event.target.closest("form[data-autosubmit]");
    if (!form) return;
    clearTimeout(waiting);
    waiting = setTimeout(() => form.requestSubmit(), event.target.matches("input[type=search], input[type=text]") ? 400 : 0);
});

// <form data-confirm="Really?"> and <button data-confirm="Really?">.
document.addEventListener("submit", (event) => {
    const question = event.submitter?.dataset.confirm || event.target.dataset.confirm;
    if (question && !window.confirm(question)) {
        event.preventDefault();
        event.stopImmediatePropagation();
    }
}, true);

// A form is sent once, however often its button is pressed.
document.addEventListener("submit", (event) => {
    if (event.defaultPrevented || event.target.method === "get" || event.target.hasAttribute("data-many")) return;
    const button = event.submitter;
    if (button) setTimeout(() => { button.disabled = true; button.setAttribute("aria-busy", "true"); });
});
window.addEventListener("pageshow", () => {
    for (const button of document.querySelectorAll("[aria-busy=true]")) {
        button.disabled = false;
        button.removeAttribute("aria-busy");
    }
});

// <button data-copy="text"> or data-copy-from="#id"; the label says that it was done.
document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy], [data-copy-from]");
    if (!button) return;
    const from = button.dataset.copyFrom && document.querySelector(button.dataset.copyFrom);
    await navigator.clipboard.writeText(from ? (from.value ?? from.textContent).trim() : button.dataset.copy);
    const before = button.textContent;
    button.textContent = button.dataset.copied || "✓";
    setTimeout(() => (button.textContent = before), 1500);
});

// Values that come from data and become style: CSP forbids style attributes, the object model does not.
// <div data-width-percent="42">, <span data-color="#123456">
function dress(root) {
    for (const element of root.querySelectorAll("[data-width-percent]")) {
        element.style.width = `${Math.max(0, Math.min(100, Number(element.dataset.widthPercent)))}%`;
    }
    // <time datetime="..." data-local>: the reader's own time zone, the exact UTC instant stays in the attribute.
    for (const element of root.querySelectorAll("time[data-local]")) {
        const moment = new Date(element.dateTime);
        if (Number.isNaN(moment.valueOf())) continue;
        element.title ||= element.dateTime;
        element.textContent = new Intl.DateTimeFormat(document.documentElement.lang || undefined, {
            dateStyle: "medium",
            ...(element.dataset.local === "date" ? {} : { timeStyle: "short" }),
        }).format(moment);
    }
    for (const element of root.querySelectorAll('[data-bs-toggle="tooltip"]')) {
        tabler.Tooltip.getOrCreateInstance(element);
    }
}

function ready(act) {
    if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", act);
    else act();
}
ready(() => dress(document));
document.addEventListener("htmx:after:process", (event) => dress(event.target.querySelectorAll ? event.target : document));
