"""Removing passwords from URLs and error messages."""

from __future__ import annotations

import re
from urllib.parse import quote, quote_plus, unquote

import sqlalchemy as sa

#: Names of URL options that hold a secret, such as ``?password=`` and ``?sslpassword=``.
_SECRET_OPTION = re.compile("pass|pwd|secret|token", re.IGNORECASE)

#: Secrets of fewer characters are hidden only where they are whole words, so that the message
#: stays readable.
_SHORT = 4

_HIDDEN = "***"


def without_password(url: str) -> str:
    """Return a URL, or a text that was meant to be one, without its passwords.

    In a password that should have been quoted, special characters look like the end of it.
    Whatever may still belong to it is hidden, too.
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
    pairs = [_option_without_secret(option) for option in options.split("&")]
    return f"{scheme}://{user}{at}{place}{mark}{'&'.join(pairs)}"


def redact(text: str, url: str) -> str:
    """Return a message on one line, without the secrets of a URL.

    Parameters
    ----------
    text
        The message of a driver, which may repeat the URL or parts of it.
    url
        The URL that the driver was given.
    """
    for secret in _secrets(url):
        pattern = re.escape(secret)
        if len(secret) < _SHORT:
            pattern = rf"(?<!\w){pattern}(?!\w)"
        text = re.sub(pattern, _HIDDEN, text)
    return " ".join(text.split())


def _secrets(url: str) -> list[str]:
    """Return the secrets of a URL in all forms in which messages show them, longest first."""
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
    """Return a text as Python shows it within quotes."""
    return repr(text)[1:-1]


def _quoted(text: str) -> str:
    return quote(text, safe="")


_FORMS = (str, quote, _quoted, quote_plus, unquote, _escaped)


def _option_without_secret(option: str) -> str:
    key, equals, _ = option.partition("=")
    return f"{key}{equals}{_HIDDEN}" if equals and _SECRET_OPTION.search(key) else option
