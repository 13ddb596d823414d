"""Objectives of many kinds; each does something unusual from its trial 4 on."""

from __future__ import annotations

import asyncio
import ctypes
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from os import _exit
from pathlib import Path

from adbo.comm.environment import rank_hint

GOOD = 4
SWALLOWED = 1e9


def _begin(trial):
    Path(f"call-{os.getpid()}-{trial.number}").touch()
    return trial.suggest_float("x", -5, 5) ** 2, trial.number >= GOOD


def catches_everything(trial):
    value, is_late = _begin(trial)
    try:
        if is_late:
            Path(f"late-{trial.number}").touch()
            time.sleep(600)
    except:  # noqa: E722 - as users write it
        return SWALLOWED
    return value


def tries_again(trial):
    value, is_late = _begin(trial)
    while True:
        try:
            if is_late:
                time.sleep(600)
            break
        except BaseException:
            continue
    return value


def waits_for_a_program(trial):
    value, is_late = _begin(trial)
    if is_late:
        subprocess.Popen(["sh", "-c", "echo $$ > program; exec sleep 600"]).wait()
    return value


def calls_the_shell(trial):
    value, is_late = _begin(trial)
    if is_late:
        os.system("echo $$ > program; exec sleep 600")
    return value


def waits_for_threads(trial):
    value, is_late = _begin(trial)
    if is_late:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(time.sleep, [600, 600]))
    return value


class Panic(BaseException):
    def __str__(self):
        raise RuntimeError("no text")


def raises_anything(trial):
    value, is_late = _begin(trial)
    errors = [GeneratorExit(), asyncio.CancelledError("by a loop"), Panic(), SystemExit(3)]
    if is_late:
        raise errors[trial.number % 4]
    return value


def raises_in_a_follower(trial):
    value, is_late = _begin(trial)
    if is_late and trial.comm.rank == 1:
        raise GeneratorExit("in a follower")
    return value


def leader_waits_in_mpi(trial):
    return _talk(trial, 1)


def follower_waits_in_mpi(trial):
    return _talk(trial, 0)


def _talk(trial, slow_rank):
    value, is_late = _begin(trial)
    for _ in range(10**6 if is_late else 3):
        time.sleep(0.02 * (trial.comm.rank == slow_rank))
        trial.comm.allreduce(value)
    return value


def leader_is_done(trial):
    if trial.comm.rank == 0:
        return _begin(trial)[0]
    return catches_everything(trial)


def ends_in_python(trial):
    value, is_late = _begin(trial)
    if is_late:
        os._exit(0)
    return value


def ends_in_c(trial):
    value, is_late = _begin(trial)
    if is_late:
        ctypes.CDLL(None).exit(0)
    return value


def ends_in_c_with_the_lock(trial):
    value, is_late = _begin(trial)
    if is_late:
        ctypes.PyDLL(None).exit(0)
    return value


def ends_in_c_at_once(trial):
    value, is_late = _begin(trial)
    if is_late:
        ctypes.CDLL(None)._exit(0)  # runs no handlers
    return value


def ends_by_what_was_imported(trial):
    value, is_late = _begin(trial)
    if is_late:
        _exit(0)
    return value


def _square(x):
    return x * x


def never_comes_back_on_rank_1(trial):
    value, is_late = _begin(trial)
    while is_late and rank_hint() == 1:
        ctypes.PyDLL(None).sleep(600)  # holds the interpreter's lock
    return value


def uses_pools(trial):
    value, _ = _begin(trial)
    with multiprocessing.Pool(2) as pool:
        assert sum(pool.map(_square, range(4))) == 14
    process = multiprocessing.Process(target=time.sleep, args=(600,))
    process.start()
    process.terminate()
    process.join()
    assert process.exitcode == -signal.SIGTERM
    return value


def forks(trial):
    value, _ = _begin(trial)
    child = os.fork()
    if child == 0:
        if trial.number % 3 == 0:
            sys.exit(7)
        if trial.number % 3 == 1:
            raise ValueError("of the child")
        print(f"child of {trial.number}")
        return 0.0
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    trial.set_user_attr("child", status)
    return value


def leaves_handlers(trial):
    value, is_late = _begin(trial)
    if is_late:
        Path("late").touch()
        time.sleep(600)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return value


def deletes_its_directory(trial):
    value = trial.suggest_float("x", -5, 5) ** 2
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
    return value


def goes_elsewhere(trial):
    value, _ = _begin(trial)
    os.makedirs("elsewhere", exist_ok=True)
    os.chdir("elsewhere")
    return value


def has_a_german_name(trial):
    value = trial.suggest_float("Größe", -5, 5) ** 2
    if trial.number == GOOD:
        raise ValueError("das Maß ist voll")
    return value
