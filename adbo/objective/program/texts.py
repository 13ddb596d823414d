"""Checking the texts of a study file that have placeholders."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import NoReturn

from adbo.objective.program.parameters import Parameter
from adbo.objective.program.placeholders import Placeholder, Text, parse, written
from adbo.objective.program.table import Table, nearest

#: What can be filled in besides parameters, with a value to try formats with.
BUILT_IN: Mapping[str, int | str] = {
    "trial.number": 0,
    "trial.directory": "",
    "study.directory": "",
}

_ENVIRONMENT = "env."

Failure = Callable[[str], NoReturn]


class Texts:
    """The texts of a study file, whose placeholders must be parameters."""

    def __init__(self, parameters: Mapping[str, Parameter]) -> None:
        self.parameters = parameters

    def parse(self, table: Table, key: str) -> Text:
        """Return the text or the number of a key, after checking its placeholders."""
        value = table.data[key]
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            table.fail(key, "must be a text or a number")
        return self.parse_text(str(value), table, key)

    def parse_text(
        self,
        text: str,
        table: Table,
        key: str,
        *,
        origin: str = "",
        marks: tuple[str, str] | None = None,
        may_be_absent: bool = False,
    ) -> Text:
        """Return a text after checking its placeholders.

        Parameters
        ----------
        text
            The text.
        table, key
            Its place in the study file, for errors.
        origin
            The file from which it comes, if that is not the study file.
        marks
            What stands before and after a placeholder instead of braces.
        may_be_absent
            Whether the text is left out where a parameter in it does not exist.
        """
        if "\0" in text and not origin:
            table.fail(key, "must not contain a null character")
        try:
            parsed = parse(text, marks)
        except ValueError as error:
            problem = str(error) if origin else str(error).removeprefix("line 1: ")
            table.fail(key, f"{origin}, {problem}" if origin else problem)
        for placeholder in parsed.placeholders:
            where = f"{origin}, line {placeholder.line}: " if origin else ""

            def fail(problem: str, what: str = where + _shown(placeholder, marks)) -> NoReturn:
                table.fail(key, f"{what} {problem}")

            self._check(placeholder, fail, may_be_absent)
        return parsed

    def _check(self, placeholder: Placeholder, fail: Failure, may_be_absent: bool) -> None:
        name = placeholder.name
        if name.startswith(_ENVIRONMENT):
            if name.removeprefix(_ENVIRONMENT) not in os.environ:
                fail("is a variable of the environment that is not set")
            _check_format(placeholder, "", fail)
        elif name in BUILT_IN:
            _check_format(placeholder, BUILT_IN[name], fail)
        elif name not in self.parameters:
            fail(f"is not a parameter{nearest(name, [*self.parameters, *BUILT_IN])}")
        else:
            parameter = self.parameters[name]
            for example in parameter.examples():
                _check_format(placeholder, example, fail)
            if parameter.when and parameter.otherwise is None and not may_be_absent:
                fail(
                    f"does not always exist: give parameters.{name}.otherwise, or in the command"
                    " a list of its own"
                )


def environment_values() -> dict[str, str]:
    """Return the variables of the environment under the names of their placeholders."""
    return {_ENVIRONMENT + name: text for name, text in os.environ.items()}


def _check_format(
    placeholder: Placeholder, example: bool | int | float | str, fail: Failure
) -> None:
    try:
        written(example, placeholder.spec)
    except ValueError:
        fail(f"cannot write {written(example)} in this format")


def _shown(placeholder: Placeholder, marks: tuple[str, str] | None) -> str:
    before, after = marks or ("{", "}")
    spec = f":{placeholder.spec}" if placeholder.spec else ""
    return f"{before}{placeholder.name}{spec}{after}"
