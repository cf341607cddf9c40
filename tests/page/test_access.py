"""The page for everybody: by keyboard, on any screen, in any colors, without motion."""

from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser import opened, wait_for_answer
from tests.page.looking import row_of


def test_everything_can_be_done_by_keyboard(digits: Page) -> None:
    reached = set()
    for _ in range(60):
        digits.keyboard.press("Tab")
        reached.add(digits.evaluate("document.activeElement.outerHTML"))
    selector = "select, button, input:not([type=radio]), textarea, [tabindex='0'], a"
    wanted = digits.eval_on_selector_all(
        selector, "all => all.filter(e => e.checkVisibility()).map(e => e.outerHTML)"
    )
    assert set(wanted) <= reached
    digits.get_by_role("button", name="Draw").press("Enter")
    expect(digits.locator(".pad")).to_be_focused()
    for key in ("ArrowUp", "ArrowLeft", "Space", "ArrowDown", "Space", "ArrowDown", "Space"):
        digits.keyboard.press(key)
    wait_for_answer(digits)
    row = row_of(digits)
    assert (row[3:6, 3] > 12).all()
    assert row[:, [0, 1, 5, 6, 7]].sum() == 0
    digits.keyboard.press("Backspace")
    wait_for_answer(digits)
    assert row_of(digits)[5, 3] == 0
    digits.get_by_label("Rotation").press("ArrowRight")
    expect(digits.locator("output").first).to_have_text("5°")
    digits.get_by_label("Python").check()
    expect(digits.locator("pre")).to_contain_text("mcdrop.Client")


CONTRAST = """() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgba = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return canvas.getImageData(0, 0, 1, 1).data;
  };
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ratio = (a, b) => {
    const [x, y] = [light(rgba(a)), light(rgba(b))].sort((p, q) => q - p);
    return (x + 0.05) / (y + 0.05);
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = getComputedStyle(at).backgroundColor;
      if (rgba(color)[3] === 255) return color;
    }
    throw new Error('nothing is opaque');
  };
  const low = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    if (!node.data.trim() || !element.checkVisibility() || element.closest('.unseen')) continue;
    const style = getComputedStyle(element);
    const color = element instanceof SVGElement ? style.fill : style.color;
    const found = ratio(color, behind(element));
    if (found < 4.5) low.push(`${node.data}: ${found.toFixed(2)}`);
  }
  for (const element of document.querySelectorAll('button, select, input:not([type=file]), pre')) {
    if (element.closest('.strip') || element.tagName === 'PRE') continue;  // not told by borders
    const {borderTopColor} = getComputedStyle(element);
    const found = ratio(borderTopColor, behind(element.parentElement));
    if (element.type !== 'range' && element.type !== 'radio' && found < 3)
      low.push(`border of ${element.outerHTML.slice(0, 60)}: ${found.toFixed(2)}`);
  }
  return low;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("model", ["digits", "flags", "parts"])
def test_everything_can_be_read(browser: Browser, url: str, scheme: Any, model: str) -> None:
    """WCAG 2.2 AA: text at 4.5 to 1, edges of controls at 3 to 1, a name for every control."""
    with opened(browser, f"{url}#{model}/1", color_scheme=scheme) as page:
        wait_for_answer(page)
        assert page.evaluate(CONTRAST) == []
        nameless = page.eval_on_selector_all(
            "input, select, textarea, button, [role=img], [role=application], section",
            """all => all.filter(e => !(e.labels?.length || e.ariaLabel || e.textContent.trim()))
                 .map(e => e.outerHTML)""",
        )
        assert nameless == []
        twice = page.evaluate(
            "(ids => ids.filter((id, i) => ids.indexOf(id) !== i))"
            "([...document.querySelectorAll('[id]')].map(e => e.id))"
        )
        assert twice == []


OUTSIDE = """all => all.filter(e => {
  const [own, chart] = [e, e.closest('svg')].map(one => one.getBoundingClientRect());
  return own.left < chart.left || own.right > chart.right + 1;
}).map(e => e.textContent)"""

SHIFTS = """
  window.shifted = 0;
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) window.shifted += entry.value;
  }).observe({type: 'layout-shift', buffered: true});
"""


@pytest.mark.parametrize(
    ("model", "width"),
    [
        *(("digits", 360), ("digits", 768), ("digits", 1280)),
        *(("pets", 360), ("parts", 360), ("parts", 1280), ("linear", 360)),
        *(("flags", 360), ("flags", 1280)),
    ],
)
def test_it_fits_any_screen_and_nothing_jumps(
    browser: Browser, url: str, model: str, width: int
) -> None:
    size = {"width": width, "height": 800}
    with opened(browser, f"{url}#{model}/1", script=SHIFTS, viewport=size) as page:
        wait_for_answer(page)
        for slider in page.locator("input[type=range]").all()[:2]:
            for key in ("PageUp", "PageUp", "Home"):
                slider.press(key)
                wait_for_answer(page)
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.eval_on_selector_all(".chart text, .distribution text", OUTSIDE) == []
        assert page.evaluate("window.shifted") < 0.02
        small = page.eval_on_selector_all(
            "button, select, input:not(.unseen):not([type=radio]), .button",
            """all => all.filter(e => e.checkVisibility())
                 .filter(e => Math.min(e.getBoundingClientRect().width,
                                       e.getBoundingClientRect().height) < 24)
                 .map(e => e.outerHTML)""",
        )
        assert small == []  # WCAG 2.2: targets of 24 pixels at least


def test_on_a_phone_the_gist_stays_in_sight(browser: Browser, url: str) -> None:
    with opened(browser, f"{url}#digits/1", viewport={"width": 360, "height": 740}) as page:
        wait_for_answer(page)
        gist = page.locator(".glance")
        expect(gist).to_be_visible()
        shown = page.locator(".mc .big").text_content()
        expect(gist.locator("b")).to_have_text(shown or "")
        gist.click()
        expect(page.locator(".verdict")).to_be_in_viewport()
        expect(gist).to_be_hidden()


def test_motion_is_reduced_where_it_is_unwanted(browser: Browser, url: str) -> None:
    moving = "getComputedStyle(document.querySelector('.split i')).transitionDuration"
    for motion, seconds in (("reduce", "0s"), ("no-preference", "0.15s, 0.15s")):
        with opened(browser, f"{url}#digits/1", reduced_motion=motion) as page:
            wait_for_answer(page)
            assert page.evaluate(moving) == seconds
