#!/usr/bin/env bash
# Run the Ackley scaling experiment on real ranks: one job of half an hour for each number of ranks,
# with evaluations that sleep N(60, 20) s. Start it on the login node. You are charged for all nodes
# that it requests.
#
#   WORKERS="128 256" PARTITION_OPTIONS="--partition=standard" bash slurm/ackley_scaling.sh
#
# Then look at the studies, for example: adbo report --storage sqlite:///ackley-128-seed14.db

WORKERS="${WORKERS:-128 256 512 1024 2048 4096}"
SEEDS="${SEEDS:-14}"
SECONDS_EACH="${SECONDS_EACH:-1800}"
PARTITION_OPTIONS="${PARTITION_OPTIONS:-}"

set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
read -ra options <<< "$PARTITION_OPTIONS"

for workers in $WORKERS; do
    for seed in $SEEDS; do
        OBJECTIVE="$here/../experiments/ackley_objective.py:objective" \
            STUDY="ackley-$workers-seed$seed" TRIALS="" \
            sbatch --job-name="ackley-$workers" --nodes=1-"$workers" --ntasks="$workers" \
            --time="$((SECONDS_EACH / 60 + 10))" "${options[@]}" \
            "$here/study.sbatch" --timeout "$SECONDS_EACH" --seed "$seed"
    done
done
