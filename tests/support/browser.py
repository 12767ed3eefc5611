"""Opens a report in Chromium as a person would: `browser.py REPORT FOLDER` prints what is seen as JSON.

For each width and colour scheme: what overflows, what is asked of the network, what is written to the console, and the
texts that are seen. Screenshots go into FOLDER.
"""

import json
import pathlib
import shutil
import sys

from playwright.sync_api import sync_playwright

# By itself Chromium looks for updates and for what else there may be on the network.
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]

# What sticks out to the right, though nothing around it scrolls; what is seen; texts of pictures that leave their picture.
LOOK = """() => {
    const wide = document.documentElement.clientWidth;
    const scrolls = e => { for (; e; e = e.parentElement) if (getComputedStyle(e).overflowX === 'auto') return true; return false; };
    const seen = e => e.getClientRects().length > 0;
    const name = e => e.tagName + ' ' + (e.textContent || '').trim().slice(0, 40);
    const all = [...document.querySelectorAll('body *')].filter(seen);
    return {
        overflow: all.filter(e => e.getBoundingClientRect().right > wide + 0.5 && !scrolls(e)).map(name),
        scroll: document.documentElement.scrollWidth - wide,
        outside: all.filter(e => e.tagName === 'text').filter(e => {
            const [t, p] = [e.getBoundingClientRect(), e.ownerSVGElement.getBoundingClientRect()];
            return t.left < p.left - 1 || t.right > p.right + 1 || t.top < p.top - 1 || t.bottom > p.bottom + 1;
        }).map(name),
        smallest: Math.min(...all.filter(e => e.tagName === 'text').map(e => e.getBoundingClientRect().height)),
        pictures: all.filter(e => e.tagName === 'svg').map(e => [e.querySelector('title').textContent, e.getAttribute('role')]),
        headings: all.filter(e => /^H[12]$/.test(e.tagName)).map(e => e.innerText),
        text: document.body.innerText,
        drawn: all.filter(e => e.tagName === 'text').map(e => e.textContent),
        paper: getComputedStyle(document.body).backgroundColor,
    };
}"""


def look(browser, report, folder, width, scheme, media="screen"):
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True)
    page = context.new_page()
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.emulate_media(media=media, color_scheme=scheme)
    page.goto(report)
    found = page.evaluate(LOOK)
    page.screenshot(path=folder / f"{width}-{scheme}-{media}.png", full_page=True)
    opened = page.locator("details:visible summary")
    for at in range(opened.count()):
        opened.nth(at).click()
    found["opened"] = page.evaluate(LOOK)
    context.close()
    return found | {"width": width, "scheme": scheme, "media": media, "console": said, "requests": asked}


def front(browser, report, folder):
    """What fits on a screen, for the README."""
    page = browser.new_page(viewport={"width": 1160, "height": 780}, color_scheme="light")
    page.goto(report)
    page.screenshot(path=folder / "report.png")


def launch(playwright):
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not chromium:
        sys.exit("there is no Chromium: `tests/run` installs Debian's, `apt-get install chromium`")
    return playwright.chromium.launch(executable_path=chromium, args=FLAGS)


def main(report, folder):
    folder = pathlib.Path(folder)
    with sync_playwright() as playwright:
        browser = launch(playwright)
        views = [(400, "light"), (400, "dark"), (760, "light"), (1400, "light"), (1400, "dark")]
        found = [look(browser, pathlib.Path(report).resolve().as_uri(), folder, *view) for view in views]
        found.append(look(browser, pathlib.Path(report).resolve().as_uri(), folder, 760, "dark", "print"))
        front(browser, pathlib.Path(report).resolve().as_uri(), folder)
        browser.close()
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
