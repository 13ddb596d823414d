#!/bin/bash
# Run one study on the nodes of one Flux job. Every task is a rank, which asks for a point, evaluates
# it and sends the result to all others. Edit the lines down to the ruler; then, in the directory of
# your objective,
#
#     flux batch study.flux
#
# The run ends by itself after TIMEOUT. Submit the same again to continue, or to join while it runs;
# when the study has all its trials, the job says so and ends. Instead of editing you can set
# variables in front of flux, and give other options of flux batch before the script:
#
#     STUDY=s2 TRIALS=20000 TIMEOUT=28500 flux batch --time-limit=480m study.flux
#
# flux: --job-name=adbo
# flux: --output=adbo-{{id}}.out
# flux: --nodes=2
# flux: --nslots=64
# flux: --time-limit=240m

# module load python mpi                    # whatever your cluster needs
# source ~/adbo/bin/activate                # the environment in which adbo is installed
DIRECTORY="$PWD"                            # where flux was called
PYTHON="${PYTHON:-python}"
OBJECTIVE="${OBJECTIVE:-objective.py:objective}"  # FILE.py:FUNCTION or FILE.toml
STUDY="${STUDY-my-study}"                   # name of the study and of its file
TRIALS="${TRIALS-10000}"                    # finished trials over all jobs; empty for no limit
TIMEOUT="${TIMEOUT:-14100}"                 # seconds; some minutes less than the limit above
STORAGE="${STORAGE:-sqlite:///$DIRECTORY/$STUDY.db}"  # or postgresql://USER@HOST/DATABASE
OPTIONS="${OPTIONS:-}"                      # more options of adbo run, e.g. --gpus-per-node 4
# MPICH finds its ranks by itself. Open MPI needs the plug-in flux-pmix.
LAUNCHER="${LAUNCHER-flux run --nodes=2 --ntasks=64}"
# ------------------------------------------------------------------------------------------------

set -euo pipefail

refuse() {
    echo "adbo job: $1" >&2
    exit 2
}
cd "$DIRECTORY"
read -ra launch <<< "$LAUNCHER"
read -ra more <<< "$OPTIONS"
file="${OBJECTIVE%:*}"
[[ -n "$STUDY" && "$STUDY" != */* ]] || refuse "STUDY must be a name, without slashes"
[[ -n "$STORAGE" ]] || refuse "STORAGE is empty: it must be the URL of a database"
# In a URL of a database these characters are no part of a path.
[[ "$STORAGE" != "sqlite:///$DIRECTORY/$STUDY.db" || "$STORAGE" != *[%?]* ]] \
    || refuse "$DIRECTORY/$STUDY.db has a % or ?: use another STUDY or directory, or set STORAGE"
[[ "$file" != *.@(py|toml) || -f "$file" ]] || refuse "OBJECTIVE: there is no file $file in $PWD"
[[ -z "${launch[*]}" ]] || command -v "${launch[0]}" > /dev/null \
    || refuse "LAUNCHER: there is no ${launch[0]}; load your MPI module, or use another"
# Looking for a package takes a moment; importing it would take seconds.
"$PYTHON" -c 'from importlib.util import find_spec
exit(not find_spec("adbo"))' 2> /dev/null \
    || refuse "PYTHON: $PYTHON has no adbo; activate its environment, or name its python"

options=(--study-name "$STUDY" --storage "$STORAGE" --resume --timeout "$TIMEOUT")
if [[ -n "$TRIALS" ]]; then options+=(--trials "$TRIALS"); fi
# Without a launcher this is one process of several. It must not start a thread for every core.
if [[ -z "${launch[*]}" ]]; then export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"; fi
# A signal to the whole job must not end this shell: adbo gets it too, saves, and ends first.
trap : TERM USR1
status=0
"${launch[@]}" "$PYTHON" -m adbo run "$OBJECTIVE" "${options[@]}" "${more[@]}" || status=$?
exit "$status"
