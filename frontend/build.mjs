// Bundles what the pages need into src/bursar/web/static/dist. Nothing is fetched at run time from anywhere else.
import { build } from "esbuild";
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";

const here = path.dirname(fileURLToPath(import.meta.url));
const root = path.dirname(here);
const sources = path.join(root, "src", "bursar");
const output = path.join(sources, "web", "static", "dist");
const icons = path.join(root, "node_modules", "@tabler", "icons", "icons");

async function* files(folder, endings) {
    for (const entry of await readdir(folder, { withFileTypes: true })) {
        const full = path.join(folder, entry.name);
        if (entry.isDirectory()) {
            if (!["__pycache__", "dist", "node_modules"].includes(entry.name)) yield* files(full, endings);
        } else if (endings.includes(path.extname(entry.name))) {
            yield full;
        }
    }
}

// Icons that are named in templates and code, and those in icons.txt, which are chosen at run time.
async function iconNames() {
    const wanted = new Map(); // name -> where it was seen first
    for await (const file of files(sources, [".html", ".py"])) {
        const text = await readFile(file, "utf8");
        const pattern = file.endsWith(".html")
            ? /\{%\s*icon\s+["']([a-z0-9-]+)["']/g
            : /\bicon["']?\s*[=:(]\s*["']([a-z0-9-]+)["']/g;
        for (const [, name] of text.matchAll(pattern)) {
            if (!wanted.has(name)) wanted.set(name, path.relative(root, file));
        }
    }
    for (const line of (await readFile(path.join(here, "icons.txt"), "utf8")).split("\n")) {
        const name = line.replace(/#.*/, "").trim();
        if (name && !wanted.has(name)) wanted.set(name, "frontend/icons.txt");
    }
    return wanted;
}

function svgOf(name) {
    const filled = name.endsWith("-filled");
    return path.join(icons, filled ? "filled" : "outline", `${filled ? name.slice(0, -"-filled".length) : name}.svg`);
}

async function sprite() {
    const symbols = [];
    const unknown = [];
    for (const [name, seen] of [...(await iconNames())].sort()) {
        const file = svgOf(name);
        if (!existsSync(file)) {
            unknown.push(`${name} (in ${seen})`);
            continue;
        }
        const svg = await readFile(file, "utf8");
        const inner = svg
            .replace(/^[\s\S]*?<svg[\s\S]*?>/, "")
            .replace(/<\/svg>\s*$/, "")
            .replace(/<path stroke="none" d="M0 0h24v24H0z" fill="none" ?\/>/, "")
            .replace(/\s*\n\s*/g, "");
        const paint = name.endsWith("-filled")
            ? 'fill="currentColor"'
            : 'fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" stroke-linejoin="round"';
        symbols.push(`<symbol id="${name}" viewBox="0 0 24 24" ${paint}>${inner}</symbol>`);
    }
    if (unknown.length) throw new Error(`no such icon: ${unknown.join(", ")}`);
    return `<svg xmlns="http://www.w3.org/2000/svg">\n${symbols.join("\n")}\n</svg>\n`;
}

await rm(output, { recursive: true, force: true });
await mkdir(output, { recursive: true });
const result = await build({
    absWorkingDir: root,
    entryPoints: ["app.js", "theme.js", "charts.js", "app.css"].map((name) =>
        path.join(here, name),
    ),
    outdir: output,
    bundle: true,
    minify: true,
    format: "iife",
    target: ["chrome111", "firefox113", "safari16.4"],
    loader: { ".woff2": "file", ".woff": "empty" },
    assetNames: "[name]",
    legalComments: "linked",
    logLevel: "warning",
    metafile: true,
});
await writeFile(path.join(output, "icons.svg"), await sprite());
for (const [file, { bytes }] of Object.entries(result.metafile.outputs).sort()) {
    if (/\.(js|css)$/.test(file)) console.log(`  ${path.basename(file).padEnd(14)} ${Math.ceil(bytes / 1024)} KiB`);
}
