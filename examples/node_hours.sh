#!/bin/sh
# What would my study take on more workers? Find out before you pay for the nodes.
#
#     sh examples/node_hours.sh
set -eu
examples=$(dirname "$0")

# A small study of the real objective, on what is at hand.
mpiexec -n 2 python -m adbo run "$examples/pruning.py:objective" --direction maximize \
    --trials 30 --study-name trial-run --resume --quiet

# The same evaluations, with their durations and failures, on other numbers of workers: time,
# utilization and node hours of 1,000 trials on nodes that have room for 32 workers.
python -m adbo simulate --from trial-run --workers 32,128,512 --workers-per-node 32 \
    --trials 1000 --json node_hours.json

# How good are the values? That depends on how many evaluations a worker can learn from. Take a test
# function that is like your problem, here 6 parameters and evaluations of about 40 s.
for workers in 16 64; do
    python -m adbo simulate hartmann6 --workers $workers --time 300 --duration lognormal:3.6,0.4
done
