"""Waiting in Chromium. Playwright's own wait_for_function evaluates text, which the pages' Content-Security-Policy forbids."""


def eventually(page, holds, seconds=60):
    """Machines differ in speed: wait for what must become true, not for a time."""
    for _ in range(seconds * 10):
        if holds():
            return
        page.wait_for_timeout(100)
    assert holds()


def arrive(page, selector):
    """Another page has come, and with it its scripts: from now on it hears keys and presses."""
    page.wait_for_selector(selector)
    page.wait_for_load_state()


def click_twice(page, selector, part):
    """The second click comes in the moment that another `part` has taken the place of this one, as that of a double click
    does; in Chromium's own double click any time may lie between the two while the machine is busy."""
    page.evaluate(
        """([selector, part]) => new Promise((done) => {
            const click = () => document.querySelector(selector).click();
            const before = document.querySelector(part);
            new MutationObserver((_, observer) => {
                if (document.querySelector(part) === before) return;
                observer.disconnect();
                click();
                done();
            }).observe(document.body, { childList: true, subtree: true });
            click();
        })""",
        [selector, part],
    )


# For a context's pages: counts the pictures that a desk has decoded. (Those that were fetched are found among the resources.)
COUNTS_PICTURES = """(() => {
    performance.setResourceTimingBufferSize(5000);
    const decode = self.createImageBitmap;
    self.picturesDecoded = 0;
    self.createImageBitmap = async (...given) => {
        const made = await decode(...given);
        self.picturesDecoded += 1;
        return made;
    };
})()"""
FETCHED = "performance.getEntriesByType('resource').filter(({ name }) => name.includes('/pictures/')).length"

# How often a desk was told what to show next. It asks again as soon as it shows the first one; a request under way while the
# page is left may be answered after what the page gives back.
TOLD = "performance.getEntriesByType('resource').filter(({ name }) => name.endsWith('/lease')).length"


def have_pictures(*pages, tasks, each=2):
    """Until the pages have fetched `each` pictures of all the tasks (or pairs) that they were given: those that `tasks` counts."""
    eventually(pages[0], lambda: sum(page.evaluate(FETCHED) for page in pages) >= each * tasks(), seconds=180)


def until(page, expression, arg=None, seconds=60):
    """Wait for a JavaScript expression, or a function of `arg`, to become true in the page."""
    eventually(page, lambda: page.evaluate(expression, arg), seconds)
