"""Waiting in Chromium. Playwright's own wait_for_function evaluates text, which the pages' Content-Security-Policy forbids."""


def eventually(page, holds, seconds=60):
    """Machines differ in speed: wait for what must become true, not for a time."""
    for _ in range(seconds * 10):
        if holds():
            return
        page.wait_for_timeout(100)
    assert holds()


def until(page, expression, arg=None, seconds=60):
    """Wait for a JavaScript expression, or a function of `arg`, to become true in the page."""
    eventually(page, lambda: page.evaluate(expression, arg), seconds)
