"""URLs and error messages without the passwords in them."""

from __future__ import annotations

import re
from urllib.parse import quote, quote_plus, unquote

import sqlalchemy as sa

#: Options of a URL that hold a secret, such as ``?password=`` and ``?sslpassword=``.
_SECRET_OPTION = re.compile("pass|pwd|secret|token", re.IGNORECASE)

#: Shorter secrets are hidden only where they are words of their own: the rest of a message must
#: stay readable, and who has such a password hides nothing by it.
_SHORT = 4

_HIDDEN = "***"


def shown(url: str) -> str:
    """A URL, or what was meant to be one, as one may print it.

    Passwords that should have been quoted are hidden, too, at the price of what may belong to
    them.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url.rpartition("@")[2]
    place, mark, options = rest.partition("?")
    if "@" in options:
        return f"{scheme}://{_HIDDEN}"
    login, at, place = place.rpartition("@")
    user = re.split("[:/@]", login)[0]
    if login != user:
        user = f"{user}:{_HIDDEN}"
    pairs = [_shown_option(option) for option in options.split("&")]
    return f"{scheme}://{user}{at}{place}{mark}{'&'.join(pairs)}"


def redact(text: str, url: str) -> str:
    """A message on one line, without what is secret in a URL.

    Parameters
    ----------
    text
        What a driver said: some repeat what they were given.
    url
        What it was given.
    """
    for secret in _secrets(url):
        pattern = re.escape(secret)
        if len(secret) < _SHORT:
            pattern = rf"(?<!\w){pattern}(?!\w)"
        text = re.sub(pattern, _HIDDEN, text)
    return " ".join(text.split())


def _secrets(url: str) -> list[str]:
    """What must not be shown, as it is and as it may be quoted; longest first."""
    hidden: list[str] = []
    login = url.partition("://")[2].rpartition("@")[0]
    if ":" in login:
        hidden.append(login.partition(":")[2])
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        pass
    else:
        hidden += [] if parsed.password is None else [str(parsed.password)]
        for key, value in parsed.query.items():
            if _SECRET_OPTION.search(key):
                hidden += [value] if isinstance(value, str) else value
    forms = {form(text) for text in hidden for form in _FORMS}
    return sorted(filter(None, forms), key=len, reverse=True)


def _escaped(text: str) -> str:
    """As Python shows it within quotes."""
    return repr(text)[1:-1]


def _quoted(text: str) -> str:
    return quote(text, safe="")


_FORMS = (str, quote, _quoted, quote_plus, unquote, _escaped)


def _shown_option(option: str) -> str:
    key, equals, _ = option.partition("=")
    return f"{key}{equals}{_HIDDEN}" if equals and _SECRET_OPTION.search(key) else option
