// Draws <div class="chart" data-chart="id-of-json" role="img" aria-label="..."></div> from a JSON block in the page:
//   <script type="application/json" id="...">{"kind": "line", "unit": "core-hours", "x": [...], "series": [...]}</script>
// A page that has charts loads this file beside app.js, and shows the same numbers as a table.
import { BarChart, LineChart, PieChart } from "echarts/charts";
import {
    AriaComponent, DataZoomComponent, GridComponent, LegendComponent, MarkLineComponent, TooltipComponent,
} from "echarts/components";
import * as echarts from "echarts/core";
import { CanvasRenderer } from "echarts/renderers";

echarts.use([
    AriaComponent, BarChart, CanvasRenderer, DataZoomComponent, GridComponent, LegendComponent, LineChart,
    MarkLineComponent, PieChart, TooltipComponent,
]);

// Colours are written as light-dark(), oklch() or var() in the style sheet, which the canvas library cannot read: the
// browser paints one point, and its colour is taken from there. All are asked for together, once in a theme, as the
// browser works out the styles of the whole page anew for each element that is put into it.
const NAMES = [
    "body-color", "border-color", "secondary", "bg-surface", "blue", "orange", "teal", "purple", "yellow", "pink", "lime", "cyan",
];
const point = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
let colours = null;

function readColours() {
    const probe = document.createElement("div");
    probe.hidden = true;
    for (const name of NAMES) {
        const swatch = document.createElement("span");
        swatch.style.color = `var(--tblr-${name})`;
        probe.append(swatch);
    }
    document.body.append(probe);
    const read = new Map();
    for (const [index, name] of NAMES.entries()) {
        point.clearRect(0, 0, 1, 1);
        point.fillStyle = getComputedStyle(probe.children[index]).color;
        point.fillRect(0, 0, 1, 1);
        const [red, green, blue, alpha] = point.getImageData(0, 0, 1, 1).data;
        read.set(name, `rgba(${red}, ${green}, ${blue}, ${(alpha / 255).toFixed(3)})`);
    }
    probe.remove();
    return read;
}

function colour(name) {
    colours ??= readColours();
    return colours.get(name);
}

// As in the text around it: thin spaces between thousands, a point, a true minus.
const figures = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });
const number = (value) =>
    value == null || value === "-" ? "–" : figures.format(value).replaceAll(",", "\u202f").replace("-", "\u2212");

// {kind: line|area|bar|stack|pie, unit, x: [label or ISO time], time: bool,
//  series: [{name, values, dashed?, band?: upper|lower, in this order}], marks: [{x | y, label}], zoom: bool}
function options(chart) {
    const text = colour("body-color");
    const faint = colour("border-color");
    const muted = colour("secondary");
    const common = {
        useUTC: true, // a day is written without a time, and stays that day wherever it is read
        animation: !window.matchMedia("(prefers-reduced-motion: reduce)").matches,
        aria: { enabled: true, decal: { show: false } },
        textStyle: { color: text, fontFamily: getComputedStyle(document.body).fontFamily },
        color: NAMES.slice(NAMES.indexOf("blue")).map(colour),
        tooltip: {
            renderMode: "richText", // HTML tooltips carry inline styles, which the content security policy forbids
            trigger: chart.kind === "pie" ? "item" : "axis",
            backgroundColor: colour("bg-surface"),
            borderColor: faint,
            textStyle: { color: text },
            valueFormatter: (value) => `${number(value)} ${chart.unit || ""}`.trim(),
        },
    };
    if (chart.kind === "pie") {
        return {
            ...common,
            // In one row that can be turned, as below: rows of long names would lie over the ring.
            legend: { type: "scroll", bottom: 0, textStyle: { color: text, width: 220, overflow: "truncate" }, pageTextStyle: { color: muted }, pageIconColor: text, pageIconInactiveColor: faint },
            series: [{
                type: "pie", center: ["50%", "45%"], radius: ["45%", "70%"], percentPrecision: 1, label: { color: text, formatter: "{d}\u202f%" }, // the legend has the names, which would lie over each other here
                data: chart.series.map(({ name, value }) => ({ name, value })),
            }],
        };
    }
    const bars = chart.kind === "bar" || chart.kind === "stack";
    const marks = chart.marks || [];
    return {
        ...common,
        grid: { left: 8, right: 16, top: 32, bottom: chart.zoom ? 72 : chart.series.length > 1 ? 36 : 8, containLabel: true },
        // In one row that can be turned: rows below each other would lie over the axis where the page is narrow.
        legend: chart.series.length > 1 ? { type: "scroll", bottom: chart.zoom ? 40 : 0, textStyle: { color: text }, pageTextStyle: { color: muted }, pageIconColor: text, pageIconInactiveColor: faint } : undefined,
        dataZoom: chart.zoom ? [{ type: "inside" }, { type: "slider", height: 24, bottom: 4 }] : undefined,
        xAxis: {
            type: chart.time ? "time" : "category",
            data: chart.time ? undefined : chart.x,
            axisLabel: { color: muted, hideOverlap: true },
            axisLine: { lineStyle: { color: faint } },
        },
        yAxis: {
            type: "value",
            name: chart.unit,
            nameTextStyle: { color: muted, align: "left" },
            axisLabel: { color: muted, formatter: number },
            splitLine: { lineStyle: { color: faint } },
        },
        series: chart.series.map((series, index) => ({
            type: bars ? "bar" : "line",
            name: series.name,
            stack: chart.kind === "stack" ? "all" : undefined,
            // A band is drawn down to the axis and its part below the lower line covered again, so that what is read at a
            // point is the line itself and not the distance of the two.
            areaStyle: series.band === "lower"
                ? { color: colour("bg-surface"), opacity: 1 }
                : chart.kind === "area" || series.band ? { opacity: 0.2 } : undefined,
            ...(series.band ? { color: colour("blue"), z: 1 } : {}),
            lineStyle: series.dashed ? { type: "dashed" } : series.band ? { width: 1, opacity: 0.6 } : { width: 2 },
            showSymbol: false,
            data: chart.time ? series.values.map((value, i) => [chart.x[i], value]) : series.values,
            markLine: index === 0 && marks.length
                ? {
                    symbol: "none", silent: true, lineStyle: { color: muted, type: "dashed" },
                    label: { color: text, formatter: "{b}" },
                    // Beside the end of a level line there is no room for words.
                    data: marks.map(({ x, y, label }) => ({ name: label, ...(x === undefined ? { yAxis: y, label: { position: "insideStartTop" } } : { xAxis: x }) })),
                }
                : undefined,
        })),
    };
}

const drawn = new Map();

function draw(element) {
    const source = document.getElementById(element.dataset.chart);
    if (!source) return;
    drawn.get(element)?.dispose();
    const chart = echarts.init(element, null, { renderer: "canvas" });
    chart.setOption(options(JSON.parse(source.textContent)));
    drawn.set(element, chart);
    sizes.observe(element);
}

const sizes = new ResizeObserver((entries) => {
    for (const { target } of entries) drawn.get(target)?.resize();
});

function drawAll() {
    for (const [element, chart] of drawn) {
        if (!element.isConnected) {
            chart.dispose();
            sizes.unobserve(element);
            drawn.delete(element);
        }
    }
    for (const element of document.querySelectorAll("[data-chart]")) {
        if (!drawn.has(element)) draw(element);
    }
}

if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", drawAll);
else drawAll();
document.addEventListener("htmx:after:swap", drawAll);
document.addEventListener("bursar:theme", () => {
    colours = null;
    [...drawn.keys()].forEach(draw);
});
