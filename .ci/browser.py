#!/usr/bin/env python3
"""Opens reports, pages and charts in a headless Chromium, on a desktop and on a phone, in a light and in a dark theme.

    .ci/browser.py README.md docs runs/quickstart/report.html
    .ci/browser.py --screenshots /tmp/shots docs/images

Arguments are HTML, Markdown and SVG files, or folders of them. It fails on a page that is wider than the window, on a picture that does
not load, on a table that scrolls and does not show it, on text of a report whose contrast is below 4.5 (WCAG AA), and on charts whose texts
overlap, are cut off, are smaller than 9 pixels or whose background does not follow the theme. Needs the Python packages playwright and markdown-it-py, and a Chromium; without them it says that
it was skipped, or fails with --required.
"""

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

WIDTHS = {1280: 900, 390: 844}
THEMES = ["light", "dark"]
SUFFIXES = (".html", ".md", ".svg")

# As a code host shows Markdown.
STYLE = """:root { color-scheme: light dark }
body { margin: 16px auto; max-width: 56rem; padding: 0 16px; font: 16px/1.5 system-ui, sans-serif; overflow-wrap: break-word }
img, svg { max-width: 100%; height: auto }
table { display: block; width: max-content; max-width: 100%; overflow: auto }
pre { overflow: auto }"""

# What is wrong with a page, as sentences.
CHECK = r"""
(dark) => {
  const wrong = [];
  const root = document.documentElement;
  if (root.scrollWidth > root.clientWidth) {
    const wide = [...document.querySelectorAll("body *")].filter((e) => {
      for (let p = e.parentElement; p; p = p.parentElement) {
        if (getComputedStyle(p).overflowX !== "visible" && p !== document.body && p !== root) return false;
      }
      return e.getBoundingClientRect().right > root.clientWidth + 0.5;
    });
    const names = wide.slice(0, 3).map((e) => `<${e.tagName.toLowerCase()}> ${e.textContent.trim().slice(0, 40)}`);
    wrong.push(`the page is ${root.scrollWidth} pixels wide in a window of ${root.clientWidth}: ${names.join("; ")}`);
  }
  for (const image of document.images) {
    if (!image.complete || !image.naturalWidth) wrong.push(`${image.getAttribute("src").slice(0, 60)} does not load`);
  }
  for (const box of document.querySelectorAll(".scroll")) {
    if (box.scrollWidth > box.clientWidth + 1 && getComputedStyle(box).backgroundImage === "none") {
      wrong.push(`a table that scrolls does not show it: ${box.textContent.slice(0, 40)}`);
    }
  }
  const rgba = (colour) => {
    const parts = colour.match(/[\d.]+/g).map(Number);
    return parts.length < 4 ? [...parts, 1] : parts;
  };
  const over = (top, below) => below.map((value, i) => (i < 3 ? top[3] * top[i] + (1 - top[3]) * value : 1));
  const background = (element) => {
    const above = element.parentElement ? background(element.parentElement) : dark ? [18, 18, 18, 1] : [255, 255, 255, 1];
    return over(rgba(getComputedStyle(element).backgroundColor), above);
  };
  const light = (colour) => {
    const linear = (value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
    const [r, g, b] = colour.map((value) => linear(value / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  // Of pages that say that they follow the theme; a code host has its own colours for Markdown.
  const texts = document.querySelector("meta[name=color-scheme]") ? [...document.querySelectorAll("body *:not(svg *)")] : [];
  const faint = new Set();
  for (const element of texts) {
    const text = [...element.childNodes].filter((n) => n.nodeType === Node.TEXT_NODE).map((n) => n.textContent.trim()).join(" ").trim();
    if (!text || !element.getBoundingClientRect().width) continue;
    const paper = background(element);
    const [ink, ground] = [over(rgba(getComputedStyle(element).color), paper), paper].map(light);
    const contrast = (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05);
    const kind = `<${element.tagName.toLowerCase()} class="${element.className}">`;
    // One sentence for each kind of element.
    if (contrast < 4.5 && !faint.has(kind)) {
      faint.add(kind);
      wrong.push(`"${text.slice(0, 30)}" of ${kind} has a contrast of ${contrast.toFixed(1)}`);
    }
  }
  const luminance = (colour) => {
    const [r, g, b] = colour.match(/[\d.]+/g).slice(0, 3).map(Number);
    return (0.2126 * r + 0.7152 * g + 0.0722 * b) / 255;
  };
  for (const svg of document.querySelectorAll("svg[viewBox]")) {
    // What is folded away has no place.
    if (!svg.querySelector("text") || !svg.getBoundingClientRect().width) continue;
    const title = svg.querySelector("title")?.textContent ?? svg.querySelector("text").textContent.trim();
    const frame = svg.getBoundingClientRect();
    const scale = frame.width / svg.viewBox.baseVal.width;
    const labels = [...svg.querySelectorAll("text")]
      .map((e) => ({ text: e.textContent.trim(), box: e.getBoundingClientRect(), size: parseFloat(getComputedStyle(e).fontSize) * scale }))
      .filter((t) => t.text && t.box.width > 0);
    for (const [i, a] of labels.entries()) {
      if (a.size < 9 && svg.classList.contains("chart")) wrong.push(`${title}: "${a.text}" is ${a.size.toFixed(1)} pixels high`);
      if (a.box.left < frame.left - 0.5 || a.box.right > frame.right + 0.5 || a.box.top < frame.top - 0.5 || a.box.bottom > frame.bottom + 0.5) {
        wrong.push(`${title}: "${a.text}" is cut off`);
      }
      for (const b of labels.slice(i + 1)) {
        // The box of a text has room above and below its letters.
        const across = Math.min(a.box.right, b.box.right) - Math.max(a.box.left, b.box.left);
        const down = Math.min(a.box.bottom, b.box.bottom) - Math.max(a.box.top, b.box.top);
        if (across > 1 && down > 0.3 * Math.min(a.size, b.size)) wrong.push(`${title}: "${a.text}" and "${b.text}" overlap`);
      }
    }
    const paper = svg.querySelector("rect");
    if (svg.classList.contains("chart") && luminance(getComputedStyle(paper).fill) < 0.5 !== dark) {
      wrong.push(`${title}: the background is ${getComputedStyle(paper).fill} in a ${dark ? "dark" : "light"} theme`);
    }
  }
  return wrong;
}
"""

# Has every fault of a chart; that of the theme shows in the dark one alone.
BAD = """<svg class="chart" width="525" height="200" viewBox="0 0 420 160"><rect width="420" height="160" fill="#fff"/>
<text x="10" y="20" font-size="13">one</text><text x="15" y="22" font-size="13">over it</text>
<text x="412" y="60" font-size="5">cut off</text></svg><div style="width: 2000px">wide</div><img src="nowhere.png" loading="lazy">
<meta name="color-scheme" content="light dark"><p style="color: #888; background: #9998">faint</p>"""
FAULTS = ["nowhere.png does not load", "the page is 2", '"one" and "over it" overlap', '"cut off" is cut off', "pixels high", "the background is", '"faint" of <p class=""> has a contrast of']


def skip(reason: str, required: bool) -> None:
    print(f"{'FAILED' if required else 'SKIPPED'}: no page was opened in a browser: {reason}")
    sys.exit(1 if required else 0)


def chromium() -> str | None:
    names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


def files(paths: list[Path]) -> list[Path]:
    found = []
    for path in paths:
        if path.is_dir():
            found += sorted(p for p in path.rglob("*") if p.suffix in SUFFIXES)
        elif path.is_file():
            found.append(path)
        else:
            sys.exit(f"{path}: no such file or folder")
    if not found:
        sys.exit("there are no HTML, Markdown or SVG files in these folders")
    return found


def complete(page) -> None:
    """Folds everything out and waits for all pictures, those out of sight too."""
    page.evaluate("for (const e of document.querySelectorAll('details')) e.open = true")
    page.evaluate("for (const image of document.images) image.loading = 'eager'")
    page.wait_for_function("[...document.images].every((image) => image.complete)")


def show(page, path: Path, markdown) -> None:
    if path.suffix == ".html":
        page.goto(path.resolve().as_uri())
        complete(page)
        return
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        text = markdown.render(text)
    text = f"<!doctype html><meta charset=utf-8><style>{STYLE}</style>{text}"
    # Links to pictures are relative to the page's folder, where only a file of its own may load them.
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".html", dir=path.parent) as file:
        file.write(text)
        file.flush()
        page.goto(Path(file.name).resolve().as_uri())
        complete(page)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH")
    parser.add_argument("--screenshots", type=Path, metavar="DIR", help="keep a picture of every page")
    parser.add_argument("--required", action="store_true", help="fail where there is no browser")
    args = parser.parse_args()
    try:
        from markdown_it import MarkdownIt
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        skip(f"the Python package {error.name} is not installed", args.required)
    markdown = MarkdownIt("commonmark", {"html": True}).enable("table")
    browser_path = chromium()
    if browser_path is None:
        skip("there is no Chromium; CHROMIUM can name its path", args.required)
    pages, wrong = files(args.paths), 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        page = browser.new_page(color_scheme="dark")
        page.set_content(f"<!doctype html>{BAD}")
        complete(page)
        found = page.evaluate(CHECK, True)
        missed = [fault for fault in FAULTS if not any(fault in sentence for sentence in found)]
        if missed:
            sys.exit(f"the checks themselves are at fault, they do not find: {missed}")
        for width, height in WIDTHS.items():
            for theme in THEMES:
                page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=theme)
                for path in pages:
                    show(page, path, markdown)
                    for sentence in page.evaluate(CHECK, theme == "dark"):
                        print(f"{path} at {width} pixels, {theme}: {sentence}")
                        wrong += 1
                    if args.screenshots:
                        args.screenshots.mkdir(parents=True, exist_ok=True)
                        name = f"{path.parent.name}-{path.stem}-{width}-{theme}.png"
                        page.screenshot(path=args.screenshots / name, full_page=True)
                page.close()
        browser.close()
    print(f"{len(pages)} files at {len(WIDTHS)} widths in {len(THEMES)} themes: {wrong} faults")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
