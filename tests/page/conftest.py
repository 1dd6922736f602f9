"""One headless browser for all tests of pages, opened from disk; they are skipped where it is missing."""

import shutil

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="session")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="the Python package playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def visit(browser):
    """``visit(path, ...)`` opens a page; what it says on the console or asks of others is an error at the end."""
    pages, problems = [], []

    def open_page(path, width=1280, height=860, fragment="", **options):
        page = browser.new_page(viewport={"width": width, "height": height}, **options)
        pages.append(page)
        own = (path.as_uri(), path.with_suffix("").as_uri() + "/", "blob:", "data:")
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: request.url.startswith(own) or problems.append(request.url))
        page.on("requestfailed", lambda request: problems.append(f"failed: {request.url}"))
        page.goto(path.as_uri() + fragment)
        page.wait_for_function("performance.getEntriesByName('first images').length")
        return page

    yield open_page
    for page in pages:
        page.close()
    assert not problems
