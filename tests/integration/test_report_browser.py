"""The report in a real Chromium, from file://."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from qwen3_api.job.base import Failure
from qwen3_api.job.evaluate import EvalReport
from qwen3_evaluator.report.html import render_html
from support.eval_reports import build_job, build_report, build_samples, build_training

PHONE, DESKTOP = (360, 740), (1280, 900)
HOSTILE = (
    "</script><img src=x onerror=\"document.title='pwned'\"><script>document.title='pwned'</script>"
)
LOWEST_CONTRAST = """() => {
  const parse = c => {
    const n = c.match(/[\\d.]+/g).map(Number);
    return [...n.slice(0, 3), n[3] ?? 1];
  };
  const over = (a, b) => [0, 1, 2].map(k => a[k] * a[3] + b[k] * (1 - a[3])).concat(1);
  const ground = e => {
    if (!e) return [255, 255, 255, 1];
    const c = parse(getComputedStyle(e).backgroundColor);
    return c[3] === 1 ? c : over(c, ground(e.parentElement));
  };
  const light = c => {
    const linear = v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
    const [r, g, b] = c.slice(0, 3).map(v => linear(v / 255));
    return .2126 * r + .7152 * g + .0722 * b;
  };
  let worst = [21, ""];
  for (const e of document.querySelectorAll("body *")) {
    const own = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    if (!own || !e.checkVisibility()) continue;
    const style = getComputedStyle(e), svg = e instanceof SVGElement;
    const back = ground(e.closest(svg ? "figure, article" : "*"));
    const [a, b] = [light(over(parse(svg ? style.fill : style.color), back)), light(back)];
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < worst[0]) worst = [ratio, e.outerHTML.slice(0, 200)];
  }
  return worst;
}"""
"""The lowest contrast ratio (WCAG 2.2, 1.4.3) of any visible text on its ground, and of what."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, which `python -m qwen3_local prepare` installs.

    Of the module, not of the session: while it is open no other event loop can run.
    """
    program = shutil.which("chromium")
    assert program, "chromium is not installed"
    with sync_playwright() as playwright:
        # CI is root in a container: no sandbox, little shared memory.
        arguments = ["--no-sandbox", "--disable-dev-shm-usage"]
        chromium = playwright.chromium.launch(executable_path=program, args=arguments)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def html() -> str:
    job = build_job()
    samples = build_samples(job)
    return render_html(job, build_report(job, samples), samples, build_training())


class Opened:
    """A page and everything that it complained about or asked for."""

    def __init__(self, page: Page, file: Path) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", lambda dialog: self.complaints.append(dialog.message))
        page.on("request", lambda request: self.requests.append(request.url))
        page.goto(file.as_uri())

    @property
    def overflow(self) -> int:
        """CSS pixels by which the page is wider than the window."""
        width: int = self.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        return width


def open_page(
    browser: Browser,
    folder: Path,
    html: str,
    size: tuple[int, int] = PHONE,
    dark: bool = False,
    scripts: bool = True,
) -> Opened:
    file = folder / "report.html"
    file.write_text(html, encoding="utf-8")
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme="dark" if dark else "light",
        java_script_enabled=scripts,
    )
    return Opened(context.new_page(), file)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_report_is_readable(
    browser: Browser, tmp_path: Path, html: str, size: tuple[int, int], dark: bool
) -> None:
    opened = open_page(browser, tmp_path, html, size, dark)
    page = opened.page
    headline = page.locator("h1")
    assert headline.inner_text().strip() == "Inconclusive"
    box = headline.bounding_box()
    assert box
    assert box["y"] + box["height"] < size[1]
    assert opened.overflow <= 0
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g)")
    assert (sum(map(int, ground)) < 3 * 64) == dark
    ratio, text = page.evaluate(LOWEST_CONTRAST)
    assert ratio >= 4.5, text
    page.screenshot(path=tmp_path / "report.png", full_page=True)
    assert opened.requests == [(tmp_path / "report.html").as_uri()]
    assert opened.complaints == []


def test_charts_lie_where_the_numbers_are(browser: Browser, tmp_path: Path, html: str) -> None:
    page = open_page(browser, tmp_path, html).page
    panel = page.locator("#scores .panel").first
    value = float(panel.locator(".value").first.inner_text())
    plot = panel.locator("svg.plot").first.bounding_box()
    mark = panel.locator(".mark.m0").last.bounding_box()
    assert plot
    assert mark
    middle = mark["x"] + mark["width"] / 2
    assert (middle - plot["x"]) / plot["width"] == pytest.approx(value, abs=0.01)


def test_curves_lie_where_the_losses_are(browser: Browser, tmp_path: Path, html: str) -> None:
    opened = open_page(browser, tmp_path, html)
    figure = opened.page.locator("#training figure")
    assert figure.locator("path.curve").count() == 2
    plot = figure.locator("svg.plot").first.bounding_box()
    curve = figure.locator("path.curve.m0").bounding_box()
    best = figure.locator("line.bound").bounding_box()
    assert plot
    assert curve
    assert best
    # From step 4 of an axis that ends at 400; the dashed line is at step 320.
    assert (curve["x"] - plot["x"]) / plot["width"] == pytest.approx(0.01, abs=0.01)
    assert curve["x"] + curve["width"] == pytest.approx(plot["x"] + plot["width"], abs=3)
    assert (best["x"] - plot["x"]) / plot["width"] == pytest.approx(0.8, abs=0.01)
    assert plot["y"] - 1 <= curve["y"]
    assert curve["y"] + curve["height"] <= plot["y"] + plot["height"] + 1
    labels = figure.locator("text.side").all()
    assert min(label.bounding_box()["x"] for label in labels) >= 0  # type: ignore[index]
    text = opened.page.locator("#training").inner_text()
    assert "1.5 h" not in text
    assert "92.3 min" in text
    assert "3.85 EUR" in text
    rows = opened.page.locator("#usage tbody tr").all_inner_texts()
    assert [row.split("\t")[0].strip() for row in rows] == ["target", "base", "incumbent", "judges"]


def test_language_switches_without_script(browser: Browser, tmp_path: Path, html: str) -> None:
    page = open_page(browser, tmp_path, html, scripts=False).page
    page.locator("label[for=ui-zh]").click()
    assert page.locator("h1").inner_text().strip() == "无定论"
    assert not page.locator("h1 .en").is_visible()
    page.keyboard.press("ArrowLeft")
    assert page.locator("h1").inner_text().strip() == "Inconclusive"


def test_questions_unfold_without_script(browser: Browser, tmp_path: Path, html: str) -> None:
    page = open_page(browser, tmp_path, html, scripts=False).page
    item = page.locator(".item:not([open])").first
    item_at = page.locator(".item").nth(1)
    assert not item.locator(".answer").first.is_visible()
    item_at.locator("summary").first.click()
    assert item_at.locator(".answer").first.is_visible()


def test_print_shows_all_answers(browser: Browser, tmp_path: Path, html: str) -> None:
    page = open_page(browser, tmp_path, html, DESKTOP).page
    answer = page.locator(".item:not([open]) .answer").first
    height = "e => e.getBoundingClientRect().height"
    assert answer.evaluate(height) == 0
    page.emulate_media(media="print")
    assert answer.evaluate(height) > 0


@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_hostile_answers_do_nothing(
    browser: Browser, tmp_path: Path, size: tuple[int, int]
) -> None:
    job = build_job()
    texts = {
        "question": HOSTILE + "长" * 500,
        "answer": HOSTILE + "x" * 500,
        "expected": "\u202e" + HOSTILE,
        "category": "c" * 200,
        "reasoning": HOSTILE,
    }
    samples = [
        s.model_copy(update=texts | {"category": f"{s.line % 3}" + texts["category"]})
        for s in build_samples(job)
    ]
    opened = open_page(
        browser, tmp_path, render_html(job, build_report(job, samples), samples), size
    )
    assert opened.page.title() == f"Inconclusive: {job.name}"
    assert opened.page.locator("img, script").count() == 0
    assert HOSTILE in opened.page.locator(".item[open] .answer .text").first.inner_text()
    assert opened.overflow <= 0
    assert opened.complaints == []


def test_policy_stops_what_escaping_would_let_through(
    browser: Browser, tmp_path: Path, html: str
) -> None:
    """With escaping broken on purpose, the browser itself refuses."""
    opened = open_page(browser, tmp_path, html.replace("<main>", f"<main>{HOSTILE}"))
    assert opened.page.locator("script").count() == 1
    assert opened.page.title().startswith("Inconclusive")
    assert len([c for c in opened.complaints if "Content Security Policy" in c]) >= 2


def test_other_kinds_of_report_fit_a_phone(browser: Browser, tmp_path: Path) -> None:
    single = build_job(baselines=())
    samples = build_samples(single)
    job = build_job()
    failure = Failure(reason="DatasetInvalid", message="line 3: " + "x" * 400, hint="Mend it.")
    failed = EvalReport(
        outcome="Failed", failure=failure, target_model="m", started="s", finished="f"
    )
    for html, word in (
        (
            render_html(single, build_report(single, samples), samples, build_training(3, None)),
            "Completed",
        ),
        (render_html(job, failed, []), "Not completed"),
    ):
        opened = open_page(browser, tmp_path, html)
        assert opened.page.locator("h1").inner_text().strip() == word
        assert opened.overflow <= 0
        assert opened.complaints == []
