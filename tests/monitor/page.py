"""The page of a run in Chromium, as a person meets it.

`page.py look URL FOLDER [TABLES]` prints as JSON what is seen at each width and colour scheme, with screenshots in FOLDER.
Lists named `wrong...` are empty if all is well. TABLES is a JSON object of the rows that each table must show.

`page.py reconnect URL` tells on standard output, a line each: `connected RUN`, then `lost TEXT` when the page says so (the
caller stops the process after the first line), then `connected RUN` again (the caller starts it again after the second).
"""

import json
import pathlib
import sys

from playwright.sync_api import sync_playwright

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from browser import launch  # noqa: E402

VIEWS = [(400, "light"), (400, "dark"), (760, "light"), (1400, "light"), (1400, "dark")]
# For what must become true soon; a page that is well needs one second of it.
PATIENCE = 30_000

# What the page shows and `api/status` does not say, or says otherwise; `[]` when they agree.
DIFFERENCES = """async tables => {
    const token = sessionStorage.getItem('alluvium-token');
    const answer = await fetch('api/status', { headers: token ? { Authorization: 'Bearer ' + token } : {} });
    const status = await answer.json();
    const text = (place, e) => (e ?? document).querySelector(place)?.textContent ?? null;
    const grouped = n => String(Math.trunc(n)).replace(/\\B(?=(\\d{3})+$)/g, ',');
    const wrong = [];
    const same = (what, seen, told) => { if (seen !== told) wrong.push(what + ': ' + seen + ' is shown, ' + told + ' is told'); };
    const state = { draining: 'finishing' }[status.state] ?? status.state;
    same('pipeline', text('#pipeline'), status.pipeline);
    same('state', text('#state span'), state);
    same('rows', text('#number-rate p'), grouped(status.rows) + (status.rows === 1 ? ' row in' : ' rows in'));
    same('epochs', text('#number-epochs strong'), grouped(status.epochs.completedByRun));
    same('backlog', text('#number-backlog strong'), grouped(status.backlog.objects) + (status.backlog.objects === 1 ? ' object' : ' objects'));
    same('rejects', text('#number-rejects strong'), grouped(status.rejects));
    same('workers', text('#number-workers strong'), grouped(status.workers));
    same('stages', document.querySelectorAll('.node').length, status.stages.length);
    for (const stage of status.stages) {
        const box = document.querySelector(`.node[data-stage="${CSS.escape(stage.name)}"]`);
        if (!box) { wrong.push('stage ' + stage.name + ' is not shown'); continue; }
        same(stage.name + ' name', text('b', box), stage.name);
        same(stage.name + ' kind', text('i', box), stage.kind);
        same(stage.name + ' rows', text('.rows-out', box), grouped(stage.rows));
        same(stage.name + ' condition', box.dataset.condition, stage.condition);
        if (stage.frontier === null && stage.condition !== 'failed') same(stage.name + ' place', text('.place', box), 'done');
    }
    const rows = [...document.querySelectorAll('#tables tbody tr')].map(r => [...r.children].map(c => c.textContent));
    same('tables', rows.length, status.tables.length);
    status.tables.forEach((table, at) => {
        const [stage, url, version, epoch, count, files] = rows[at] ?? [];
        same('table', stage, table.stage);
        same(table.stage + ' url', url, table.url);
        same(table.stage + ' version', version, table.version === null ? '–' : grouped(table.version));
        same(table.stage + ' epoch', epoch, table.epoch ? grouped(table.epoch) : '–');
        same(table.stage + ' rows', count, grouped(table.rows));
        same(table.stage + ' files', files, grouped(table.files));
        if (tables && table.stage in tables) same(table.stage + ' expected rows', count, grouped(tables[table.stage]));
    });
    for (const name of Object.keys(tables ?? {})) if (!status.tables.some(t => t.stage === name)) wrong.push('there is no table ' + name);
    return wrong;
}"""

# What sticks out, what cannot be read, what has no name.
LOOK = """() => {
    const wide = document.documentElement.clientWidth;
    const scrolls = e => { for (; e; e = e.parentElement) if (['auto', 'hidden'].includes(getComputedStyle(e).overflowX)) return true; return false; };
    const all = [...document.querySelectorAll('body *')].filter(e => e.checkVisibility() && e.getClientRects().length && !e.closest('.hidden, .skip'));
    const name = e => e.tagName + (e.id ? '#' + e.id : '') + ' ' + (e.textContent || '').trim().slice(0, 40);
    const channels = c => (c.match(/[\\d.]+/g) ?? [0, 0, 0, 0]).map(Number);
    const light = c => { const [r, g, b] = channels(c).map(v => v / 255).map(v => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
    const behind = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e); if (c.backgroundImage !== 'none') return null; const v = channels(c.backgroundColor); if (v.length < 4 || v[3] > 0) return c.backgroundColor; } return null; };
    const faint = e => {
        if (e.disabled || e.ownerSVGElement || e.tagName === 'svg' || ![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())) return false;
        const back = behind(e);
        if (!back) return false;
        const [a, b] = [light(getComputedStyle(e).color), light(back)].sort((x, y) => y - x);
        return (a + 0.05) / (b + 0.05) < 4.5;
    };
    const ids = [...document.querySelectorAll('[id]')].map(e => e.id);
    const missing = [...document.querySelectorAll('[aria-labelledby], [aria-describedby]')].flatMap(e => ['aria-labelledby', 'aria-describedby'].flatMap(a => (e.getAttribute(a) ?? '').split(' ')).filter(id => id && !document.getElementById(id)));
    const said = e => e.getAttribute('aria-label') ?? (e.getAttribute('aria-labelledby') ?? '').split(' ').map(id => document.getElementById(id)?.textContent ?? '').join(' ');
    const nameless = [
        ...all.filter(e => e.tagName === 'BUTTON' && !e.textContent.trim()),
        ...all.filter(e => e.tagName === 'TABLE' && !e.caption?.textContent),
        ...all.filter(e => e.tagName === 'TH' && !e.scope),
        ...all.filter(e => e.tagName === 'svg' && e.getAttribute('aria-hidden') !== 'true' && !e.closest('[aria-hidden=true]') && !(e.getAttribute('role') === 'img' && said(e).trim())),
        ...all.filter(e => e.tagName === 'INPUT' && !e.labels.length),
    ];
    return {
        wrong_overflow: all.filter(e => e.getBoundingClientRect().right > wide + 0.5 && !scrolls(e.parentElement)).map(name),
        wrong_sideways: document.documentElement.scrollWidth > wide ? [document.documentElement.scrollWidth - wide] : [],
        wrong_contrast: all.filter(faint).map(name),
        wrong_ids: [...ids.filter((id, at) => ids.indexOf(id) !== at), ...missing],
        wrong_names: nameless.map(name),
        landmarks: ['header', 'main', 'footer'].filter(tag => document.querySelectorAll(tag).length === 1),
        headings: all.filter(e => /^H[123]$/.test(e.tagName)).map(e => e.textContent),
        nodes: [...document.querySelectorAll('.node')].map(e => ({ stage: e.dataset.stage, condition: e.dataset.condition, text: e.innerText })),
        edges: [...document.querySelectorAll('.edge')].filter(e => e.dataset.from).map(e => ({ from: e.dataset.from, to: e.dataset.to, rejects: e.classList.contains('rejects') })),
        charts: [...document.querySelectorAll('.chart svg')].map(e => e.getAttribute('aria-label')),
        epochs: [...document.querySelectorAll('#epochs tr[data-epoch]')].map(e => Number(e.dataset.epoch)),
        tables: [...document.querySelectorAll('#tables tbody tr')].map(r => [...r.children].map(c => c.textContent)),
        rejects: [...document.querySelectorAll('#rejects tbody tr')].map(r => [...r.children].map(c => c.textContent)),
        panels: [...document.querySelectorAll('#panels figure')].map(e => ({ title: e.querySelector('h3').textContent, pictures: [...e.querySelectorAll('svg')].filter(s => s.checkVisibility()).length })),
        fault: document.querySelector('#fault').hidden ? null : document.querySelector('#fault').innerText,
        warnings: [...document.querySelectorAll('#warnings-list li')].map(e => e.innerText),
        announced: document.querySelector('#polite').textContent,
        alarm: document.querySelector('#assertive').textContent,
        title: document.title,
        paper: getComputedStyle(document.body).backgroundColor,
    };
}"""

READY = "() => document.querySelector('.node[data-condition]') && !document.querySelector('main[aria-busy]') && !document.body.classList.contains('lost')"
FOCUS = "() => document.activeElement?.dataset?.stage ?? null"


def keyboard(page):
    """Opens a stage's details with the keyboard alone; what is wrong with that."""
    wrong = []
    page.evaluate("document.activeElement?.blur()")
    for _ in range(40):
        page.keyboard.press("Tab")
        if stage := page.evaluate(FOCUS):
            break
    else:
        return ["Tab never comes to a stage"]
    if page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "none":
        wrong.append("focus is not seen")
    page.keyboard.press("ArrowRight")
    stage = page.evaluate(FOCUS) or stage
    page.keyboard.press("Enter")
    details = page.locator("#details")
    if not details.is_visible():
        return wrong + [f"Enter does not open the details of {stage}"]
    title = page.inner_text("#details-title")
    if title != stage:
        wrong.append(f"the details of {title} are open, not of {stage}")
    if not page.evaluate("document.querySelector('#details').contains(document.activeElement)"):
        wrong.append("focus is not in the details")
    wrong += [f"details: {what}" for key, found in page.evaluate(LOOK).items() if key.startswith("wrong") for what in found]
    if page.locator("#details .rows table tbody tr").count() == 0:
        wrong.append("the details have no row for a worker")
    return wrong


def leave(page):
    """Closes the details with Escape; what is wrong with that."""
    stage = page.inner_text("#details-title")
    page.keyboard.press("Escape")
    if page.locator("#details").is_visible():
        return ["Escape does not close the details"]
    back = page.evaluate(FOCUS)
    return [] if back == stage else [f"focus comes back to {back}, not to {stage}"]


# The page follows a moment behind: what differs after so many milliseconds does differ. `wait_for_function` awaits no promises.
SETTLED = f"""async ([tables, patience]) => {{
    const look = {DIFFERENCES};
    const end = Date.now() + patience;
    for (;;) {{
        const wrong = await look(tables);
        if (wrong.length === 0 || Date.now() > end) return wrong;
        await new Promise(requestAnimationFrame);
    }}
}}"""


def expand(page):
    """Opens the newest epoch's details, if there is one; what is wrong with that."""
    if page.locator(".expand").count() == 0:
        return []
    page.locator(".expand").first.click()
    return [] if page.locator("#epochs .more .detail table").count() else ["an epoch that is opened shows nothing"]


def look(browser, url, folder, tables, width, scheme):
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce")
    page = context.new_page()
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(url)
    page.wait_for_function(READY, timeout=PATIENCE)
    wrong_values = page.evaluate(SETTLED, [tables, PATIENCE])
    found = page.evaluate(LOOK)
    page.screenshot(path=folder / f"{width}-{scheme}.png", full_page=True)
    page.screenshot(path=folder / f"{width}-{scheme}-top.png")
    wrong_keyboard = keyboard(page)
    page.screenshot(path=folder / f"{width}-{scheme}-details.png")
    wrong_keyboard += leave(page) if page.locator("#details").is_visible() else []
    wrong_epochs = expand(page)
    page.screenshot(path=folder / f"{width}-{scheme}-epoch.png", full_page=True)
    context.close()
    elsewhere = sorted({u for u in asked if not u.startswith((url, "data:"))})
    return found | {
        "width": width,
        "scheme": scheme,
        "wrong_values": wrong_values,
        "wrong_keyboard": wrong_keyboard,
        "wrong_epochs": wrong_epochs,
        "wrong_console": said,
        "wrong_requests": elsewhere,
    }


def reconnect(browser, url):
    page = browser.new_page()
    page.goto(url)
    run = "() => document.querySelector('#identity dd').textContent"
    page.wait_for_function(READY, timeout=PATIENCE)
    first = page.evaluate(run)
    kept = page.inner_text("#pipeline")
    print("connected", first, flush=True)
    page.wait_for_function("() => document.body.classList.contains('lost')", timeout=PATIENCE)
    if page.inner_text("#pipeline") != kept or page.locator(".node").count() == 0:
        sys.exit("the page forgets what it knew")
    if not all(page.locator(f"#{button}").is_disabled() for button in ("pause", "pace", "stop")):
        sys.exit("the page would steer a run that it does not hear")
    print("lost", page.inner_text("#connection span"), flush=True)
    again = f"first => ({READY})() && ({run})() !== first"
    page.wait_for_function(again, arg=first, timeout=PATIENCE)
    print("connected", page.evaluate(run), flush=True)


def main(what, url, *rest):
    with sync_playwright() as playwright:
        browser = launch(playwright)
        if what == "reconnect":
            reconnect(browser, url)
        else:
            folder = pathlib.Path(rest[0])
            folder.mkdir(parents=True, exist_ok=True)
            tables = json.loads(rest[1]) if len(rest) > 1 else None
            json.dump([look(browser, url, folder, tables, *view) for view in VIEWS], sys.stdout)
        browser.close()


main(*sys.argv[1:])
