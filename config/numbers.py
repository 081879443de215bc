"""Numbers that somebody wrote into an address or a form."""

# The largest that a bigint holds, and so the largest id.
MAX_ID = 2**63 - 1


def id_of(text: object) -> int | None:
    """The id that this names; None for what is no id. (str.isdigit alone takes "\u00b2", which int() does not.)"""
    word = str(text)
    return int(word) if word.isascii() and word.isdigit() and len(word) < 19 else None
