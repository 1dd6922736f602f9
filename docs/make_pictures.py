"""The images of the README, from the finished run in this folder: screenshots in the machine's Chromium, and plots.

make pictures
"""

import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs/pictures"


def small(path):
    """The same pixels in fewer bytes."""
    Image.open(path).convert("RGB").save(path, optimize=True)


def main():
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("there is no Chromium on this machine")
    FOLDER.mkdir(parents=True, exist_ok=True)
    address = (ROOT / "results/browse/valid.html").as_uri()
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 760}, color_scheme="light")
        page.goto(address)
        page.wait_for_function("performance.getEntriesByName('first images').length")
        page.wait_for_timeout(1500)  # those of the other rows in view
        page.screenshot(path=FOLDER / "rankings.png")
        page.keyboard.press("j")
        page.keyboard.press("Enter")
        page.wait_for_selector("#matrix td")
        page.wait_for_timeout(1000)
        page.screenshot(path=FOLDER / "action.png")
        sheet = browser.new_page(viewport={"width": 1000, "height": 900}, color_scheme="light")
        sheet.goto((ROOT / "results/figures/valid.svg").as_uri())
        sheet.locator("svg").first.screenshot(path=FOLDER / "scores.png")
        browser.close()
    shutil.copyfile(ROOT / "results/description/contact_sheet.png", FOLDER / "contact_sheet.png")
    for path in FOLDER.glob("*.png"):
        small(path)


if __name__ == "__main__":
    main()
