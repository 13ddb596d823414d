"""Messages never show a password of a URL."""

from __future__ import annotations

from urllib.parse import quote, quote_plus

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from adbo.mirror.redaction import redact, without_password

#: Passwords with characters that have a meaning in URLs. The letters do not occur elsewhere in the
#: URLs, so that a test finds any part of a password.
_PASSWORDS = st.text("QXZ7:/@%?#&=+ [].$'\"\\", min_size=4, max_size=12).filter(
    lambda text: sum(c in "QXZ7" for c in text) >= 3
)


@given(_PASSWORDS, st.sampled_from([str, quote_plus, lambda text: quote(text, safe="")]))
def test_a_password_is_not_shown(password: str, form) -> None:
    """It is hidden even if it is badly quoted."""
    text = without_password(f"postgresql://user:{form(password)}@host:5432/data")
    assert not any(c in text for c in "QXZ7")
    assert text.startswith("postgresql://")
    if form is not str:
        assert text == "postgresql://user:***@host:5432/data"


@given(_PASSWORDS)
def test_an_option_with_a_password_is_not_shown(password: str) -> None:
    url = sa.make_url("postgresql://user@host/data").set(
        query={"sslmode": "require", "password": password, "sslpassword": [password, password]}
    )
    text = without_password(url.render_as_string(hide_password=False))
    assert not any(c in text for c in "QXZ7")
    assert "sslmode=require" in text


@given(_PASSWORDS, st.sampled_from([str, quote_plus, repr, lambda text: quote(text, safe="")]))
def test_what_a_driver_repeats_is_redacted(password: str, form) -> None:
    url = sa.URL.create("mysql", "user", password, "host", 3306, "data")
    said = f"cannot connect to user at host with {form(password)}"
    text = redact(said, url.render_as_string(hide_password=False))
    assert not any(c in text for c in "QXZ7")
    assert text.startswith("cannot connect to user at host")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("two\n  lines", "two lines"),
        ("password is ab", "password is ***"),
        ("table is absent", "table is absent"),
    ],
)
def test_the_rest_of_a_message_stays_readable(said: str, told: str) -> None:
    assert redact(said, "postgresql://user:ab@host/data") == told


def test_a_url_without_secrets_is_shown_as_it_is() -> None:
    for url in ("sqlite:///a.db", "postgresql://user@host/data?sslmode=require"):
        assert without_password(url) == url
        assert redact("no such table: trials", url) == "no such table: trials"
