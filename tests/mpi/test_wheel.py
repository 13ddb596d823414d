"""The first commands of the quickstart, with the wheel in an empty environment."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from studies import check_sound

import adbo

ROOT = Path(__file__).parents[2]

#: What the quickstart installs from PyPI.
PACKAGE = "adbo[mpich,report]"


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """The wheel, built from a copy so that nothing is left in the clone."""
    source, built = tmp_path / "source", tmp_path / "built"
    shutil.copytree(ROOT / "adbo", source / "adbo", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.cfg", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    subprocess.run([*pip, "--wheel-dir", str(built), str(source)], check=True)
    shutil.rmtree(source)
    [path] = built.glob("adbo-*.whl")
    return path


@pytest.mark.slow
def test_five_commands_from_nothing_to_a_report(wheel: Path, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "quickstart.md").read_text()
    block = re.search(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert block is not None
    commands = block[1].replace(PACKAGE, f"{wheel}[mpich,report]")
    assert str(wheel) in commands
    assert len(commands.splitlines()) == 5
    place = tmp_path / "laptop"
    place.mkdir()
    kept = ("DATABASE_URL", "PYTHONPATH", "VIRTUAL_ENV")
    environment = {k: v for k, v in os.environ.items() if k not in kept}
    # The first Python is that which made the environment of the tests, not the latter itself.
    base = Path(sys.executable).resolve().parent
    environment |= {"PATH": f"{base}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    environment["PIP_QUIET"] = "1"

    def run(lines: str) -> str:
        shell = ["bash", "-e", "-c", lines]
        done = subprocess.run(
            shell, cwd=place, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    out = run(commands)
    assert re.search(r"trials: +\d+ \(\d+ complete, 0 pruned, 0 failed\), .* on 4 ranks", out)
    html = (place / "report.html").read_text()
    assert "ackley" in html
    assert html.count("<svg") >= 5
    python = ".venv/bin/python"
    code = "import adbo; print(adbo.__version__, adbo.__file__)"
    version, file = run(f"{python} -c '{code}'").split()
    assert version == adbo.__version__
    assert Path(file).is_relative_to(place)
    code = "import optuna; [n] = optuna.get_all_study_names('sqlite:///adbo.db'); print(n)"
    name = run(f'{python} -c "{code}"').strip()
    study = optuna.load_study(study_name=name, storage=f"sqlite:///{place}/adbo.db")
    trials = check_sound(study)
    assert len(trials) >= 400
    assert {trial.user_attrs["adbo:rank"] for trial in trials} == {0, 1, 2, 3}
    # What the package brings along for those who have no clone.
    assert "#SBATCH" in run(f"{python} -m adbo jobscript slurm")
