"""A wrong study file is one line that names the file, the place, and what would be right."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from adbo.cli.main import main
from adbo.core.errors import UsageError
from adbo.objective.program import input_files, parameters, study_file, texts, value
from adbo.objective.program.parameters import Parameter
from adbo.objective.program.study_file import read_study_file

X = '[parameters.x]\nkind = "float"\nlow = 0\nhigh = 1\n'
N = '[parameters.n]\nkind = "int"\nlow = 1\nhigh = 9\nstep = 2\n'
S = '[parameters.s]\nkind = "categorical"\nchoices = ["cg", "gmres"]\n'
LONG = "a" * 300  # no file can have this name
COMMAND = 'command = ["sh", "-c", "echo {x}"]\n'


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a program, a file without permission to run, templates and data."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sim").write_text("#!/bin/sh\necho 1\n")
    (tmp_path / "sim").chmod(0o755)
    (tmp_path / "plain").write_text("1\n")
    (tmp_path / "sim.in").write_text("a\n\nx = {x}\n")
    (tmp_path / "wrong.in").write_text("a\nx = {y}\n")
    (tmp_path / "brace.in").write_text("a {\n")
    return tmp_path


def _parameter(lines: str, others: str = "") -> str:
    return f"{COMMAND}{X}{others}[parameters.y]\n{lines}\n"


WRONG = {
    # The file and its keys.
    "not TOML": ("command = \n", "Invalid value (at line 1, column 11)"),
    "twice": (f"{COMMAND}{COMMAND}{X}", "Cannot overwrite a value (at line 2"),
    "unknown key": (f"{COMMAND}timeuot = 3\n{X}", "timeuot: unknown key: did you mean 'timeout'?"),
    "unknown table": (f"{COMMAND}{X}[banana]\n", "banana: unknown key"),
    "no parameters": (COMMAND, "parameters: there must be at least one"),
    "parameters no table": (f"{COMMAND}parameters = 3\n", "parameters: must be a table"),
    # Parameters.
    "parameter no table": (f"{COMMAND}{X}[parameters]\ny = 1\n", "parameters.y: must be a table"),
    "name with a brace": (f'{COMMAND}{X}[parameters."a{{"]\n', "parameters.'a{': a name must not"),
    "reserved name": (f'{COMMAND}{X}[parameters."trial.x"]\n', "parameters.'trial.x': a name"),
    "no kind": (_parameter("low = 1"), "parameters.y.kind: must be one of 'float', 'int', 'categ"),
    "wrong kind": (_parameter('kind = "flaot"'), "parameters.y.kind: must be one of 'float', "),
    "nearest kind": (_parameter('kind = "flaot"'), "did you mean 'float'?"),
    "low is text": (
        _parameter('kind = "float"\nlow = "0"\nhigh = 1'), "parameters.y.low: must be a number",
    ),
    "low is true": (
        _parameter('kind = "float"\nlow = true\nhigh = 1'), "parameters.y.low: must be a number",
    ),
    "low is missing": (_parameter('kind = "float"\nhigh = 1'), "parameters.y.low: is missing"),
    "high is missing": (_parameter('kind = "int"\nlow = 1'), "parameters.y.high: is missing"),
    "infinite": (
        _parameter('kind = "float"\nlow = 0\nhigh = inf'), "parameters.y.high: must be a finite",
    ),
    "too wide": (
        _parameter('kind = "float"\nlow = -1e308\nhigh = 1e308'), "parameters.y.high: the range",
    ),
    "huge integer": (
        _parameter('kind = "int"\nlow = 0\nhigh = 9223372036854775808'),
        "parameters.y.high: must fit into 64 bits",
    ),
    "not an integer": (
        _parameter('kind = "int"\nlow = 0.5\nhigh = 3'), "parameters.y.low: must be an integer",
    ),
    "low above high": (
        _parameter('kind = "int"\nlow = 4\nhigh = 3'),
        "parameters.y.low: is 4: it must not be above high, 3",
    ),
    "log from 0": (
        _parameter('kind = "float"\nlow = 0\nhigh = 3\nlog = true'),
        "parameters.y.low: is 0.0: with log = true it must be positive",
    ),
    "log is a word": (
        _parameter('kind = "float"\nlow = 1\nhigh = 3\nlog = "yes"'),
        "parameters.y.log: must be true or false",
    ),
    "log and step": (
        _parameter('kind = "float"\nlow = 1\nhigh = 3\nlog = true\nstep = 1'),
        "parameters.y.step: must not be given with log",
    ),
    "step 0": (
        _parameter('kind = "int"\nlow = 1\nhigh = 3\nstep = 0'),
        "parameters.y.step: is 0: it must be positive",
    ),
    "step misses high": (
        _parameter('kind = "float"\nlow = 0\nhigh = 1\nstep = 0.3'),
        "parameters.y.high: is 1.0: it must be low, 0.0, plus a multiple of step, 0.3",
    ),
    "no choices": (_parameter('kind = "categorical"'), "parameters.y.choices: is missing"),
    "empty choices": (
        _parameter('kind = "categorical"\nchoices = []'), "parameters.y.choices: must be a list",
    ),
    "a date": (
        _parameter('kind = "categorical"\nchoices = [2020-01-01]'),
        "parameters.y.choices: 2020-01-01 is not a text",
    ),
    "equal choices": (
        _parameter('kind = "categorical"\nchoices = [1, "a", true]'),
        "parameters.y.choices: true is equal to an earlier choice",
    ),
    "range of choices": (
        _parameter('kind = "categorical"\nchoices = [1]\nlow = 1'),
        "parameters.y.low: unknown key",
    ),
    # Conditions.
    "no such parameter": (
        _parameter('kind = "categorical"\nchoices = [1]\nwhen.solver = "cg"'),
        "parameters.y.when.solver: is not a parameter",
    ),
    "a float": (
        _parameter('kind = "categorical"\nchoices = [1]\nwhen.x = 0.5'),
        "parameters.y.when.x: is a float",
    ),
    "no such choice": (
        _parameter('kind = "categorical"\nchoices = [1]\nwhen.s = ["cg", "sor"]', S),
        "parameters.y.when.s: sor is not a value of parameter 's'",
    ),
    "not on the grid": (
        _parameter('kind = "categorical"\nchoices = [1]\nwhen.n = 2', N),
        "parameters.y.when.n: 2 is not a value of parameter 'n'",
    ),
    "no values": (
        _parameter('kind = "categorical"\nchoices = [1]\nwhen.n = []', N),
        "parameters.y.when.n: must be a value of that parameter, or a list",
    ),
    "a cycle": (
        _parameter(
            'kind = "categorical"\nchoices = [1]\nwhen.z = 1\n'
            '[parameters.z]\nkind = "categorical"\nchoices = [1]\nwhen.y = 1'
        ),
        "parameters.y.when: a cycle of conditions: y -> z -> y",
    ),
    "itself": (
        _parameter('kind = "categorical"\nchoices = [1]\nwhen.y = 1'),
        "a cycle of conditions: y -> y",
    ),
    "otherwise without a condition": (
        _parameter('kind = "categorical"\nchoices = [1]\notherwise = 1'),
        "parameters.y.otherwise: is for a parameter with a condition",
    ),
    "otherwise a list": (
        _parameter('kind = "categorical"\nchoices = [1]\nwhen.n = 3\notherwise = [1]', N),
        "parameters.y.otherwise: must be a text, a number",
    ),
    # The command.
    "no command": (X, "command: is missing"),
    "empty command": (f'command = ""\n{X}', "command: must be a text or a list of texts"),
    "command a number": (f"command = 3\n{X}", "command: must be a text or a list of texts"),
    "a number in it": (f'command = ["sh", 3]\n{X}', "command: must be a text or a list of texts"),
    "open quote": (f"command = \"sh 'a\"\n{X}", "command: cannot be split into words"),
    "of a shell": (f'command = "./sim < sim.in"\n{X}', "command: there is no shell that"),
    "no program": (f'command = "nowhere {{x}}"\n{X}', "command: there is no program 'nowhere'"),
    "beside it": (f'command = "sim {{x}}"\n{X}', "on the PATH: write ./sim"),
    "no file": (f'command = "./gone"\n{X}', "command: there is no program ./gone"),
    "not executable": (f'command = "./plain"\n{X}', "command: ./plain is not executable: chmod"),
    "argument beside it": (
        f'command = "sh plain"\n{X}',
        "command: plain is beside the study file, but the program runs in the trial's directory:"
        " write ./plain, or {trial.directory}/plain",
    ),
    "missing argument": (f'command = "sh ./gone"\n{X}', "command: there is no ./gone beside"),
    "no parameter": (f'command = "./sim {{y}}"\n{X}', "command: {y} is not a parameter"),
    "nearest parameter": (
        f'command = "./sim {{trial.nunber}}"\n{X}', "did you mean 'trial.number'?",
    ),
    "conversion": (f'command = "./sim {{x!r}}"\n{X}', "command: {x!r} is not a parameter"),
    "single brace": (f'command = "./sim }}"\n{X}', "command: a single '}'; write '}}' for it"),
    "format of another kind": (
        f'command = "./sim {{x:d}}"\n{X}', "command: {x:d} cannot write 0.0 in this format",
    ),
    "format of a text": (
        f'command = "./sim {{s:.3e}}"\n{S}', "command: {s:.3e} cannot write cg in this format",
    ),
    "format of what is filled in otherwise": (
        f'command = "./sim {{y:d}}"\n{S}[parameters.y]\nkind = "int"\nlow = 0\nhigh = 1\n'
        'when.s = "cg"\notherwise = 0.5\n',
        "command: {y:d} cannot write 0.5 in this format",
    ),
    "does not always exist": (
        f'command = "./sim {{y}}"\n{S}[parameters.y]\nkind = "float"\nlow = 0\nhigh = 1\n'
        'when.s = "cg"\n',
        "command: {y} does not always exist: give parameters.y.otherwise, or",
    ),
    "no such variable": (
        f'command = "./sim {{env.NOT_THERE}}"\n{X}',
        "command: {env.NOT_THERE} is a variable of the environment that is not set",
    ),
    # Files.
    "no template": (
        f'{COMMAND}{X}[files]\n"a.in" = "gone.in"\n', "files.a.in: cannot read gone.in: No such",
    ),
    "not a template": (f'{COMMAND}{X}[files]\n"a.in" = 3\n', "files.a.in: must name a template"),
    "wrong template": (
        f'{COMMAND}{X}[files]\n"a.in" = "wrong.in"\n',
        "files.a.in: wrong.in, line 2: {y} is not a parameter",
    ),
    "brace in a template": (
        f'{COMMAND}{X}[files]\n"a.in" = "brace.in"\n',
        "files.a.in: brace.in, line 1: a single '{'",
    ),
    "outside": (
        f'{COMMAND}{X}[files]\n"../a.in" = "sim.in"\n', "files.../a.in: must be the path of a",
    ),
    "output": (
        f'{COMMAND}{X}[files]\n"stdout.txt" = "sim.in"\n', "files.stdout.txt: is where the",
    ),
    "marks": (
        f'{COMMAND}{X}[files]\n"a" = {{ template = "sim.in", marks = ["@"] }}\n',
        "files.a.marks: must be the text before and after",
    ),
    "no link": (f'{COMMAND}links = ["gone"]\n{X}', "links: there is no gone beside"),
    "link of a directory with a file": (
        f'{COMMAND}links = ["sim"]\n{X}[files]\n"sim/a.in" = "sim.in"\n',
        "links: the name 'sim' is taken",
    ),
    "file and directory": (
        f'{COMMAND}{X}[files]\n"a/b" = "sim.in"\n"a" = "sim.in"\n',
        "files.a: must not be both a file and a directory",
    ),
    "the same link": (f'{COMMAND}links = ["sim", "./sim"]\n{X}', "links: the name 'sim' is taken"),
    "links a text": (f'{COMMAND}links = "sim"\n{X}', "links: must be a list of texts"),
    "no input": (f'{COMMAND}stdin = "sim.in"\n{X}', "stdin: sim.in must be one of the trial's"),
    # The rest.
    "environment": (
        f"{COMMAND}{X}[environment]\nA = true\n", "environment.A: must be a text or a number",
    ),
    "its placeholder": (
        f'{COMMAND}{X}[environment]\nA = "{{z}}"\n', "environment.A: {z} is not a parameter",
    ),
    "directory": (f'{COMMAND}directory = "plain"\n{X}', "plain is not a directory"),
    "long directory": (f'{COMMAND}directory = "{LONG}"\n{X}', "aaa: File name too long"),
    "long link": (f'{COMMAND}links = ["{LONG}"]\n{X}', "links: there is no aaa"),
    "long program": (f'command = "./{LONG}"\n{X}', "command: there is no program ./aaa"),
    "unset variable": (
        f'{COMMAND}directory = "$NOT_THERE/a"\n{X}', "directory: $NOT_THERE/a has a variable",
    ),
    "keep": (f'{COMMAND}keep = "some"\n{X}', "keep: must be one of 'all', 'failed'"),
    "timeout": (f"{COMMAND}timeout = 0\n{X}", "timeout: is 0: it must be a positive number"),
    "retries": (f"{COMMAND}retries = -1\n{X}", "retries: is -1: it must not be negative"),
    "retries of reports": (
        f"{COMMAND}retries = 2\n{X}[reports]\nregex = '(a)'\n",
        "retries: cannot be used with [reports]: leave it out, and use --retries 2",
    ),
    "codes": (f"{COMMAND}success_codes = [256]\n{X}", "success_codes: must be a list of exit"),
    "both codes": (f"{COMMAND}pruned_codes = [0]\n{X}", "pruned_codes: 0 means success"),
    "value": (f'{COMMAND}{X}[value]\njason = "a"\n', "value.jason: unknown key: did you mean 'j"),
    "two ways": (
        f'{COMMAND}{X}[value]\njson = "a"\nregex = "(a)"\n', "value.regex: only one of take,",
    ),
    "take": (f'{COMMAND}{X}[value]\ntake = "first"\n', "value.take: must be one of 'last line'"),
    "regex": (f'{COMMAND}{X}[value]\nregex = "("\n', "value.regex: is not a regular expression"),
    "groups": (f'{COMMAND}{X}[value]\nregex = "a"\n', "value.regex: has 0 groups in parenthe"),
    "attribute": (
        f'{COMMAND}{X}[attributes.steps]\nregex = "a"\n', "attributes.steps.regex: has 0 groups",
    ),
    "attribute of adbo": (
        f'{COMMAND}{X}[attributes."adbo:rank"]\n', "attributes.adbo:rank: names that begin with",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("content", "problem"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_file_is_one_line_with_its_place(content: str, problem: str, place: Path) -> None:
    Path("study.toml").write_text(content)
    with pytest.raises(UsageError) as caught:
        read_study_file("study.toml")
    message = str(caught.value)
    assert message.startswith("study.toml: ")
    assert problem in message
    assert "\n" not in message


def test_an_argument_longer_than_the_name_of_a_file(place: Path) -> None:
    Path("study.toml").write_text(f'command = ["sh", "-c", "{LONG}", "{{x}}"]\n{X}')
    assert len(read_study_file("study.toml").command) == 4


def test_files_that_cannot_be_read(place: Path) -> None:
    Path("latin.toml").write_bytes(b'command = "\xe9"')
    Path("dir.toml").mkdir()
    for name, problem in (
        ("gone.toml", "no file 'gone.toml'"),
        ("latin.toml", "latin.toml: is not text in UTF-8"),
        ("dir.toml", "cannot read dir.toml: Is a directory"),
    ):
        with pytest.raises(UsageError) as caught:
            read_study_file(name)
        assert str(caught.value) == problem


def test_a_directory_that_cannot_be_written(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("study.toml").write_text(f'{COMMAND}directory = "locked/a"\n{X}')
    (place / "locked").mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    with pytest.raises(UsageError, match=r"directory: cannot write .*locked: permission denied"):
        read_study_file("study.toml")


def test_the_command_line_says_it_and_evaluates_nothing(
    place: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("study.toml").write_text(f"{COMMAND}{X}".replace("low = 0", 'low = "0"'))
    for command in (["run"], ["simulate", "--workers", "2", "--trials", "3"]):
        assert main([command[0], "study.toml", *command[1:]]) == 2
        out, err = capfd.readouterr()
        assert (out, err) == ("", "adbo: study.toml: parameters.x.low: must be a number\n")
    assert not list(place.glob("*.db"))
    assert not (place / "trials").exists()


def test_the_documentation_has_all_keys() -> None:
    text = (Path(__file__).parents[2] / "docs" / "programs.md").read_text()
    keys = {*study_file._KEYS, *value._KEYS, *input_files.KEYS, *texts.BUILT_IN}
    for key in keys.union(*parameters._KEYS.values()):
        assert re.search(rf"[`\[{{ ]{re.escape(key)}[`\]}}. ]", text), key


def test_what_a_file_says(place: Path) -> None:
    Path("study.toml").write_text(
        f'{COMMAND}{N}{X}{S}[parameters.y]\nkind = "float"\nlow = 1\nhigh = 8\nlog = true\n'
        'when = { s = "cg", n = [3, 5] }\notherwise = 0\n'
    )
    content = read_study_file("study.toml")
    assert content.path == place / "study.toml"
    assert content.directory == place / "trials"
    assert content.parameters == {
        "n": Parameter("int", 1, 9, step=2),
        "x": Parameter("float", 0.0, 1.0),
        "s": Parameter("categorical", choices=("cg", "gmres")),
        "y": Parameter("float", 1.0, 8.0, True, when={"s": ("cg",), "n": (3, 5)}, otherwise=0),
    }


def test_a_parameter_comes_after_those_on_which_it_depends(place: Path) -> None:
    condition = 'kind = "categorical"\nchoices = ["a"]\nwhen.{} = "a"\n'
    Path("study.toml").write_text(
        f"{COMMAND}[parameters.a]\n{condition.format('b')}[parameters.b]\n{condition.format('c')}"
        f'[parameters.c]\nkind = "categorical"\nchoices = ["a", "b"]\n{X}'
    )
    assert list(read_study_file("study.toml").parameters) == ["c", "b", "a", "x"]
