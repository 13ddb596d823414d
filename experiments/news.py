"""The age of news, and the cost of messages, for numbers of ranks that no machine here has.

    python experiments/news.py
    python experiments/news.py --ranks 4096 65536 --evaluation 1 60

Prints one JSON object for each number of ranks and duration of an evaluation. The ages follow
from the overlay and random ticks (`adbo.simulation.news`), the costs from what ``messaging.py``
measured on real ranks.
"""

from __future__ import annotations

import argparse
import json

from adbo.comm.overlay import choose_radix, incoming, n_digits, outgoing
from adbo.simulation.news import news_of, typical_ages


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--ranks", type=int, nargs="+", default=[64, 128, 512, 4096, 65536])
    parser.add_argument("--evaluation", type=float, nargs="+", default=[1.0, 60.0])
    options = parser.parse_args()
    for ranks in options.ranks:
        for seconds in options.evaluation:
            print(json.dumps(figures(ranks, seconds)))


def figures(ranks: int, evaluation: float) -> dict[str, float]:
    """Return what news cost and how old they are, for evaluations of a length in seconds."""
    radix = choose_radix(ranks, has_threads=True)
    median, high = typical_ages(ranks)
    news = news_of(ranks)
    neighbours = {route.peer for route in outgoing(0, ranks, radix)}
    return {
        "ranks": ranks,
        "evaluation_seconds": evaluation,
        "hops": n_digits(ranks, radix),
        "connections": len(neighbours | set(incoming(0, ranks, radix))),
        "age_seconds_median": round(median, 2),
        "age_seconds_99": round(high, 2),
        "messages_per_second": round(news.messages(1 / evaluation), 1),
        "share_of_time": round(news.share(1 / evaluation), 4),
        "megabytes_of_version_vectors": round(4 * ranks * len(neighbours) * 2 / 2**20, 2),
    }


if __name__ == "__main__":
    main()
