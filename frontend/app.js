// What every page loads: htmx, Tabler's widgets, and a few small behaviours named by data attributes.
import * as tabler from "@tabler/core/dist/js/tabler.esm.js";
import htmx from "htmx.org/dist/htmx.esm.js";

window.bootstrap = tabler.bootstrap;

// The content security policy allows no eval and no inline script: hx-on and "js:" values are not used,
// and the indicator's style is in app.css.
htmx.config.includeIndicatorCSS = false;

const $ = (selector, root = document) => root.querySelector(selector);

function cookie(name) {
    const found = document.cookie.split("; ").find((part) => part.startsWith(`${name}=`));
    return found ? decodeURIComponent(found.slice(name.length + 1)) : "";
}

document.addEventListener("htmx:config:request", (event) => {
    const request = event.detail.ctx.request;
    if (!["GET", "HEAD"].includes((request.method || "GET").toUpperCase())) {
        request.headers["X-CSRFToken"] = $('meta[name="csrf-token"]')?.content || cookie("csrftoken");
    }
});

// ---------------------------------------------------------------------------------------------- questions
// <form data-confirm="Really?">, <button data-confirm="Really?">, hx-confirm="Really?": asked in a dialog of ours, which
// has the focus, keeps it inside and gives it back; the browser's own window cannot be styled or translated.
function ask(question, yes) {
    const dialog = $("#ask");
    if (!dialog?.showModal) return Promise.resolve(window.confirm(question));
    $("#ask-question", dialog).textContent = question;
    const button = $("[value=yes]", dialog);
    button.textContent = yes || button.dataset.yes;
    dialog.returnValue = "no";
    dialog.showModal();
    return new Promise((resolve) => {
        dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
    });
}

const confirmed = new WeakSet();
document.addEventListener("submit", (event) => {
    const form = event.target;
    const asking = event.submitter?.dataset.confirm ? event.submitter : form.dataset.confirm ? form : null;
    if (!asking) return;
    if (confirmed.delete(form)) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    const submitter = event.submitter;
    ask(asking.dataset.confirm, asking.dataset.confirmYes || submitter?.textContent.trim()).then((sure) => {
        if (!sure) return;
        confirmed.add(form);
        form.requestSubmit(submitter?.isConnected ? submitter : undefined);
    });
}, true);

document.addEventListener("htmx:confirm", (event) => {
    const { ctx, issueRequest, dropRequest } = event.detail;
    event.preventDefault();
    ask(ctx.confirm).then((sure) => (sure ? issueRequest() : dropRequest()));
});

// ---------------------------------------------------------------------------------------------- forms
// A form is sent once, however often its button is pressed.
document.addEventListener("submit", (event) => {
    const form = event.target;
    if (event.defaultPrevented || form.method !== "post" || form.hasAttribute("data-many")) return;
    if (form.dataset.sent) {
        event.preventDefault();
        return;
    }
    form.dataset.sent = "1";
    const button = event.submitter;
    // Not at once: a disabled button would not send its own name and value.
    if (button) setTimeout(() => { button.disabled = true; button.setAttribute("aria-busy", "true"); });
});

function release() {
    for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
    for (const button of document.querySelectorAll("button[aria-busy=true]")) {
        button.disabled = false;
        button.removeAttribute("aria-busy");
    }
}
window.addEventListener("pageshow", release); // the browser's back button shows the page as it was left
document.addEventListener("htmx:finally:request", release);

// <form data-autosubmit>: filters apply as they are chosen; text waits until the typing stops.
let waiting;
document.addEventListener("input", (event) => {
    const form = event.target.closest("form[data-autosubmit]");
    if (!form) return;
    clearTimeout(waiting);
    waiting = setTimeout(() => form.requestSubmit(), event.target.matches("input[type=search], input[type=text]") ? 400 : 0);
});

// ---------------------------------------------------------------------------------------------- messages
function place(toast) {
    if (toast.dataset.placed) return;
    toast.dataset.placed = "1";
    if (toast.classList.contains("toast-error") || toast.classList.contains("toast-warning")) return; // stay until read
    let timer;
    const leave = () => (timer = setTimeout(() => toast.remove(), 7000));
    for (const pause of ["mouseenter", "focusin"]) toast.addEventListener(pause, () => clearTimeout(timer));
    for (const resume of ["mouseleave", "focusout"]) toast.addEventListener(resume, leave);
    leave();
}

function say(words, level) {
    const toasts = $("#toasts");
    const toast = document.createElement("div");
    toast.className = `toast show toast-${level}`;
    toast.dataset.toast = "";
    if (level === "error") toast.setAttribute("role", "alert");
    const body = document.createElement("div");
    body.className = "toast-body d-flex gap-2";
    const text = document.createElement("span");
    text.className = "flex-fill";
    text.textContent = words;
    const close = document.createElement("button");
    close.type = "button";
    close.className = "btn-close";
    close.dataset.dismissToast = "";
    close.setAttribute("aria-label", toasts.dataset.close);
    body.append(text, close);
    toast.append(body);
    toasts.append(toast);
    place(toast);
}

document.addEventListener("htmx:error", (event) => {
    if (event.detail.ctx?.request?.method) say($("#toasts").dataset.failed, "error");
});

// ---------------------------------------------------------------------------------------------- small clicks
document.addEventListener("click", async (event) => {
    const target = event.target.closest("[data-dismiss-toast], [data-back], [data-copy], [data-copy-from], [data-toggle-rows]");
    if (!target) return;
    if ("dismissToast" in target.dataset) {
        target.closest("[data-toast]")?.remove();
    } else if ("back" in target.dataset) {
        if (history.length > 1) history.back();
        else location.assign("/");
    } else if ("toggleRows" in target.dataset) {
        toggleRows(target);
    } else {
        // data-copy="text" or data-copy-from="#id"; the label says that it was done.
        const from = target.dataset.copyFrom && $(target.dataset.copyFrom);
        await navigator.clipboard.writeText(from ? (from.value ?? from.textContent).trim() : target.dataset.copy);
        const label = $(".copy-label", target) || target;
        if (label.dataset.said) return; // clicked again meanwhile
        label.dataset.said = "true";
        const before = [...label.childNodes];
        label.replaceChildren(target.dataset.copied || "✓");
        setTimeout(() => {
            label.replaceChildren(...before);
            delete label.dataset.said;
        }, 1500);
    }
});

// A tree in a table: <tr data-row="7" data-parent="3"> with <button data-toggle-rows="7" aria-expanded="true">.
// A row is shown when all rows above it are open.
function toggleRows(button) {
    const open = button.getAttribute("aria-expanded") !== "true";
    button.setAttribute("aria-expanded", String(open));
    arrangeRows(button.closest("table"));
}

function arrangeRows(table) {
    const closed = new Set();
    for (const row of table.querySelectorAll("tr[data-row]")) {
        row.hidden = closed.has(row.dataset.parent);
        const button = $("[data-toggle-rows]", row);
        if (row.hidden || (button && button.getAttribute("aria-expanded") !== "true")) closed.add(row.dataset.row);
    }
}

// <ul data-strip>: a row that scrolls sideways. What is current is in view, and an edge behind which there is more fades.
const strips = new ResizeObserver((entries) => entries.forEach(({ target }) => fade(target)));

function fade(strip) {
    const { left, right } = strip.getBoundingClientRect();
    strip.toggleAttribute("data-more-before", strip.firstElementChild.getBoundingClientRect().left < left - 1);
    strip.toggleAttribute("data-more-after", strip.lastElementChild.getBoundingClientRect().right > right + 1);
}

function unroll(strip) {
    if (strip.dataset.strip) return;
    strip.dataset.strip = "seen";
    const current = $("[aria-current]", strip)?.getBoundingClientRect();
    const { left, width } = strip.getBoundingClientRect();
    if (current) strip.scrollLeft += current.left + current.width / 2 - left - width / 2;
    strip.addEventListener("scroll", () => fade(strip), { passive: true });
    strips.observe(strip); // tells its size at once too
}

// The menu may be longer than the window: the entry of this page is in view.
function showCurrent() {
    const menu = $("#menu");
    const entry = menu && $("[aria-current]", menu);
    if (!entry || menu.scrollHeight <= menu.clientHeight) return;
    const beyond = entry.getBoundingClientRect().bottom - menu.getBoundingClientRect().bottom;
    if (beyond > 0) menu.scrollTop += beyond + menu.clientHeight / 3;
}

// ---------------------------------------------------------------------------------------------- after each change
// Values that come from data and become style: CSP forbids style attributes, the object model does not.
// <div data-width-percent="42">
function dress(root) {
    for (const element of root.querySelectorAll("[data-width-percent]")) {
        element.style.width = `${Math.max(0, Math.min(100, Number(element.dataset.widthPercent)))}%`;
    }
    for (const element of root.querySelectorAll('[data-bs-toggle="tooltip"]')) tabler.Tooltip.getOrCreateInstance(element);
    for (const table of root.querySelectorAll("table[data-tree]")) arrangeRows(table);
    root.querySelectorAll("[data-toast]").forEach(place);
    root.querySelectorAll("[data-strip]").forEach(unroll);
    $("[data-focus]", root)?.focus();
}

function ready(act) {
    if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", act);
    else act();
}
ready(() => dress(document));
ready(showCurrent);
document.addEventListener("htmx:after:swap", () => dress(document));
