"""The dashboard's page in a real browser: search, sort, hover, keyboard, dark mode, phone, no request."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from coursekit.checking import fixtures
from part_utils.dashboard import Dashboard, DashboardConfig, DashboardStatistics, collect_statistics
from part_utils.model_with_autoencoder import ModelWithAutoencoder
from part_utils.texts import TokenizedText
from tests.browser import launched_browser

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

LATENTS = [0, 3, 7, 12]
HOSTILE = "</script><b>\n&"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def statistics() -> DashboardStatistics:
    generator = torch.Generator().manual_seed(5)
    tokens = torch.randint(17, (60, 11), generator=generator)
    labels = torch.randint(3, (60, 11), generator=generator)
    text = TokenizedText(tokens, labels, ("Wikipedia: History", "django: db", "Python: asyncio"))
    found = collect_statistics(
        LATENTS,
        text,
        ModelWithAutoencoder(fixtures.language_model(1), fixtures.autoencoder(2)),
        cfg=DashboardConfig(n_top=4, per_group=2),
        names={7: "the seventh heaven"},
        progress=False,
    )
    words = {token: f" word{token}" for token in found.strings}
    return replace(found, strings={**words, max(words): HOSTILE})


@pytest.fixture(scope="module")
def path(statistics: DashboardStatistics, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Dashboard(statistics).save(tmp_path_factory.mktemp("dashboard") / "page.html")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched_browser() as browser:
        yield browser


class Opened:
    """A page with what it asked for and complained about."""

    def __init__(self, browser: Browser, path: Path, **context: Any) -> None:
        self.page: Page = browser.new_context(**context).new_page()
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(path.as_uri())

    def listed(self) -> list[int]:
        return self.page.eval_on_selector_all("#list a", "links => links.map(a => Number(a.dataset.latent))")

    def shown(self) -> int:
        (latent,) = self.page.eval_on_selector_all(
            "main .latent", "all => all.map(latent => Number(latent.dataset.latent))"
        )
        return int(latent)


@pytest.fixture
def opened(browser: Browser, path: Path) -> Iterator[Opened]:
    opened = Opened(browser, path, viewport={"width": 1300, "height": 900})
    yield opened
    assert opened.complaints == []
    # Everything is in the one file.
    assert opened.requests == [path.as_uri()]
    opened.page.context.close()


def test_search(opened: Opened, statistics: DashboardStatistics) -> None:
    page = opened.page
    assert opened.listed() == LATENTS
    assert opened.shown() == LATENTS[0]
    page.fill("#search", "heaven")
    assert opened.listed() == [7]
    assert opened.shown() == 7
    assert page.inner_text("#found") == "1 latent"
    page.fill("#search", "12")
    assert opened.listed()[0] == 12
    page.fill("#search", "WORD3")
    with_word = [
        latent
        for latent, its in statistics.latents.items()
        if any(
            "word3" in " ".join(statistics.strings[token] for token in context.tokens)
            for group in [its.top, *its.groups]
            for context in group.contexts
        )
    ]
    assert set(with_word) <= set(opened.listed())
    page.fill("#search", "django")
    assert opened.listed()
    page.fill("#search", "nowhere to be found")
    assert opened.listed() == []
    assert page.inner_text("#found") == "0 latents"
    page.press("#search", "Escape")
    assert page.input_value("#search") == ""
    assert opened.listed() == LATENTS


def test_sort(opened: Opened, statistics: DashboardStatistics) -> None:
    values = {
        "rate": lambda its: its.rate,
        "concentration": lambda its: its.concentration,
        "favored": lambda its: len(its.favored),
    }
    for key, value in values.items():
        opened.page.select_option("#sort", key)
        expected = sorted(LATENTS, key=lambda latent: -value(statistics.latents[latent]))
        assert opened.listed() == expected
    opened.page.select_option("#sort", "latent")
    assert opened.listed() == LATENTS


def test_search_ranks_by_how_strongly_a_latent_fires(opened: Opened, statistics: DashboardStatistics) -> None:
    def strength(latent: int) -> float:
        its = statistics.latents[latent]
        return max(
            (
                share if statistics.strings[token] == " word3" else share / 2
                for token, share in its.fires_on
                if " word3" in statistics.strings[token]
            ),
            default=0.0,
        )

    opened.page.fill("#search", " word3")
    listed = [latent for latent in opened.listed() if strength(latent)]
    assert listed
    assert listed == sorted(listed, key=lambda latent: (-strength(latent), latent))
    assert opened.listed()[: len(listed)] == listed
    # With the space only tokens that begin with one are the word.
    opened.page.fill("#search", "3word")
    assert opened.listed() == []


def test_copies_of_neurons_say_so_and_can_be_hidden(
    browser: Browser, statistics: DashboardStatistics, tmp_path: Path
) -> None:
    its = statistics.latents[3]
    copy = replace(its, neurons=[(5, 0.9), *its.neurons[1:]])
    assert copy.copied_neuron == 5
    plain = {
        latent: replace(other, neurons=[(0, 0.5), *other.neurons[1:]])
        for latent, other in statistics.latents.items()
    }
    altered = replace(statistics, latents={**plain, 3: copy})
    opened = Opened(browser, Dashboard(altered).save(tmp_path / "page.html"))
    page = opened.page
    page.click("#list a[data-latent='3']")
    assert "copies neuron 5 (81 %" in page.inner_text("h2")
    page.check("#copies")
    assert opened.listed() == [0, 7, 12]
    assert opened.shown() == 0
    page.fill("#search", "3")
    assert opened.listed()[0] == 3  # asked for by its number, it is shown
    page.context.close()


def test_the_list_and_the_contexts_are_one_tab_stop_each(opened: Opened) -> None:
    page = opened.page
    stops = "all => all.filter(e => e.tabIndex === 0).length"
    page.focus("#search")
    for _ in range(6):
        if page.evaluate("document.activeElement.closest('#list') !== null"):
            break
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.dataset.latent") == "0"
    for key, latent in (("ArrowDown", 3), ("End", 12), ("ArrowUp", 7), ("Home", 0)):
        page.keyboard.press(key)
        assert opened.shown() == latent
        assert page.evaluate("document.activeElement.dataset.latent") == str(latent)
        assert page.eval_on_selector_all("#list a", stops) == 1
        assert page.eval_on_selector_all(".ctx", stops) == 1
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.classList.contains('ctx')")
    page.keyboard.press("ArrowDown")
    assert page.eval_on_selector_all(".ctx", stops) == 1


def test_texts_and_logits_are_on_the_first_screen(
    browser: Browser, statistics: DashboardStatistics, tmp_path: Path
) -> None:
    its = statistics.latents[0]
    # As many as the default shows.
    full = replace(its, top=replace(its.top, contexts=(its.top.contexts * 12)[:12]))
    path = Dashboard(replace(statistics, latents={0: full})).save(tmp_path / "page.html")
    opened = Opened(browser, path, viewport={"width": 1280, "height": 900})
    for selector in (".contexts .ctx >> nth=11", ".effects .four"):
        box = opened.page.locator(selector).bounding_box()
        assert box is not None
        assert box["y"] + box["height"] <= 900
    # No card is stretched to the height of its neighbor.
    empty = opened.page.eval_on_selector_all(
        ".panel",
        """all => all.map(panel => panel.getBoundingClientRect().bottom
                                   - panel.lastElementChild.getBoundingClientRect().bottom)""",
    )
    assert max(empty) < 20
    opened.page.context.close()


def test_where_frames_are_taken_out_the_essence_stays(
    browser: Browser, statistics: DashboardStatistics, tmp_path: Path
) -> None:
    """As JupyterLab does in a notebook that is not trusted, and GitHub always."""
    frame = Dashboard(statistics)._repr_html_()
    inside = frame[frame.index(">", frame.rindex("style=")) + 1 : frame.rindex("</iframe>")]
    outer = tmp_path / "notebook.html"
    outer.write_text(f"<!doctype html><meta charset=utf-8>{inside}", "utf-8")
    opened = Opened(browser, outer)
    assert "Latent 7, the seventh heaven" in opened.page.inner_text("body")
    assert "What really came next" in opened.page.inner_text("body")
    tags = opened.page.eval_on_selector_all("body *", "all => [...new Set(all.map(e => e.localName))]")
    assert set(tags) <= {"p", "b", "br", "ul", "li", "code"}
    opened.page.context.close()


def test_pointing_at_a_token(opened: Opened, statistics: DashboardStatistics) -> None:
    page, context = opened.page, statistics.latents[0].top.contexts[0]
    assert page.is_hidden("#tip")
    page.hover(".ctx .text b >> nth=0")
    told = page.inner_text("#tip")
    assert f"activation {context.acts[context.peak]:.2f}" in told
    effect = context.loss_effects[context.peak]
    if effect is None:
        assert "the text ends here" in told
    else:
        assert f"{abs(effect):.3f} nats" in told
        assert ("rises" if effect > 0 else "falls") in told
    page.hover("h2")
    assert page.is_hidden("#tip")
    # Unfolded, so that the token is not cut off.
    context = page.locator(".ctx:has(.text i:not([data-a]))").first
    context.click()
    context.locator(".text i:not([data-a])").first.hover()
    assert page.inner_text("#tip") == "does not fire here"


def test_keyboard(opened: Opened) -> None:
    page = opened.page
    for key, latent in (("j", 3), ("ArrowRight", 7), ("k", 3), ("ArrowLeft", 0), ("k", 0)):
        page.keyboard.press(key)
        assert opened.shown() == latent
    assert page.inner_text("#list a[aria-current]").startswith("0")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "search"
    page.keyboard.type("jk/")
    assert page.input_value("#search") == "jk/"
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") == "main"
    page.keyboard.press("j")
    assert opened.shown() == 3


def test_keyboard_in_a_context(opened: Opened) -> None:
    page = opened.page
    page.focus("#next")
    while not page.evaluate("document.activeElement.classList.contains('ctx')"):
        page.keyboard.press("Tab")
    # The focus can be seen, and the token under it speaks.
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert page.locator(".cursor").count() == 1
    assert "activation" in page.inner_text("#tip")
    assert page.inner_text("#live")
    token = page.evaluate_handle("document.querySelector('.cursor')")
    page.keyboard.press("ArrowLeft")
    assert not token.evaluate("token => token.classList.contains('cursor')")
    assert opened.shown() == LATENTS[0]
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowDown")
    assert page.evaluate("[...document.querySelectorAll('.ctx')].indexOf(document.activeElement)") == 1
    page.keyboard.press("Escape")
    assert page.is_hidden("#tip")
    page.keyboard.press("ArrowRight")
    assert opened.shown() == LATENTS[1]


def test_links_between_latents(opened: Opened) -> None:
    link = opened.page.locator("main a").first
    target = int(link.inner_text())
    link.click()
    assert opened.shown() == target
    assert opened.page.url.endswith(f"#latent-{target}")
    opened.page.goto(opened.page.url.split("#")[0] + "#latent-12")
    assert opened.shown() == 12
    opened.requests = opened.requests[:1]


def test_everything_has_a_name(opened: Opened) -> None:
    unnamed = opened.page.eval_on_selector_all(
        "svg, input, select, button, [role=img]",
        "all => all.filter(e => !e.getAttribute('aria-label')).map(e => e.outerHTML)",
    )
    assert unnamed == []


def test_hostile_text_is_text(opened: Opened) -> None:
    page = opened.page
    assert page.evaluate("document.scripts.length") == 1
    shown = "".join(
        page.evaluate(f"document.getElementById('latent-{latent}').content.textContent") for latent in LATENTS
    )
    assert "</script><b>⏎&" in shown


def contrast(page: Page, selector: str) -> float:
    """The ratio of the contrast between a text and the page (Web Content Accessibility Guidelines 2.1)."""
    colors = page.evaluate(
        "s => [getComputedStyle(document.querySelector(s)).color, getComputedStyle(document.body).backgroundColor]",
        selector,
    )

    def luminance(color: str) -> float:
        parts = [int(part) / 255 for part in color[color.index("(") + 1 : -1].split(",")[:3]]
        red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    light, dark = sorted((luminance(color) for color in colors), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark(browser: Browser, path: Path, scheme: str) -> None:
    opened = Opened(browser, path, color_scheme=scheme)
    background = opened.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") == (scheme == "light")
    for selector in ("h2", ".panel p", ".ctx .label", ".ctx .text", ".side .about"):
        assert contrast(opened.page, selector) >= 4.5
    opened.page.context.close()


def test_phone(browser: Browser, path: Path) -> None:
    opened = Opened(browser, path, viewport={"width": 375, "height": 812}, is_mobile=True, has_touch=True)
    page = opened.page
    for _ in LATENTS:
        assert page.evaluate("document.documentElement.scrollWidth") <= 375
        page.tap("#next")
    assert opened.shown() == LATENTS[-1]
    page.tap(".ctx .text b >> nth=0")
    assert "activation" in page.inner_text("#tip")
    assert page.evaluate("document.getElementById('tip').getBoundingClientRect().right") <= 375
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    page.context.close()


def test_inside_a_notebook(browser: Browser, statistics: DashboardStatistics, tmp_path: Path) -> None:
    """In a frame without an address of its own, as notebooks show it."""
    outer = tmp_path / "notebook.html"
    outer.write_text(f"<!doctype html><meta charset=utf-8>{Dashboard(statistics)._repr_html_()}", "utf-8")
    opened = Opened(browser, outer)
    frame = opened.page.frame_locator("iframe")
    frame.locator("#next").click()
    assert frame.locator("main h2").inner_text().startswith(f"Latent {LATENTS[1]}")
    frame.locator("main a").first.click()
    assert frame.locator("main .latent").count() == 1
    assert opened.complaints == []
    assert opened.requests == [outer.as_uri()]
    opened.page.context.close()


def many_latents(statistics: DashboardStatistics) -> DashboardStatistics:
    """The same panels under so many numbers that the list of latents does not fit its window."""
    its = statistics.latents[LATENTS[0]]
    return replace(statistics, latents={latent: replace(its, latent=latent) for latent in range(80)})


def test_the_notebook_stays_where_it_is(
    browser: Browser, statistics: DashboardStatistics, tmp_path: Path
) -> None:
    """Opening a dashboard far down a page, or choosing a latent in it, must not scroll that page to it."""
    outer = tmp_path / "notebook.html"
    frame = Dashboard(many_latents(statistics))._repr_html_().replace('loading="lazy"', "")
    outer.write_text(
        f"<!doctype html><meta charset=utf-8><div style='height: 20000px'></div>{frame}", "utf-8"
    )
    opened = Opened(browser, outer, viewport={"width": 1300, "height": 900})
    page = opened.page
    inside = page.frames[1]
    inside.wait_for_selector("main h2", state="attached")
    assert page.evaluate("scrollY") == 0

    def in_sight() -> bool:
        """Whether the chosen latent can be seen in the list, up to the rounding of positions."""
        seen: bool = inside.evaluate(
            """() => {
                const box = document.querySelector("#list a[aria-current]").getBoundingClientRect();
                const nav = document.querySelector("nav").getBoundingClientRect();
                return nav.top - 1 < box.top && box.bottom < nav.bottom + 1;
            }"""
        )
        return seen

    scrolled = set()
    for button in ["next"] * 60 + ["previous"] * 50:
        inside.evaluate("id => document.getElementById(id).click()", button)
        scrolled.add(inside.evaluate("document.querySelector('nav').scrollTop > 0"))
        assert in_sight()
    assert scrolled == {False, True}
    inside.evaluate("document.getElementById('sort').value = 'rate'")
    inside.evaluate("document.getElementById('sort').dispatchEvent(new Event('change'))")
    assert in_sight()
    assert page.evaluate("scrollY") == 0
    opened.page.context.close()
