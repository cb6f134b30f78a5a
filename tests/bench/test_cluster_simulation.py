"""The simulated cluster: the real policy loses nothing, and short clips do not wait."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cluster_simulation import CLUSTER, simulate

SMALL = replace(CLUSTER, slots=40)


@pytest.mark.parametrize("copies", [False, True])
def test_every_piece_counts_once_though_nodes_are_lost(copies: bool) -> None:
    harsh = replace(SMALL, mtbf_s=600.0, down_s=60.0, failing=0.01)
    told = simulate("backlog", 1000, 60.0, copies=copies, cluster=harsh)
    assert told["nodes_lost"] > 3
    assert told["redone"] > 0
    assert (told["done"], told["given_up"]) == (1000, 0)
    assert told["results"] == told["expected_results"] < told["assignments"]
    assert (told["copied"] > 0) == copies


def test_no_more_than_the_ideal_comes_out() -> None:
    told = simulate("backlog", 2000, 600.0, copies=True, cluster=SMALL)
    assert told["share_of_ideal"] <= told["busy"] <= 1
    assert told["share_of_ideal_999"] > 0.8  # the last long clips do not fill the slots
    assert told["largest"]["under_way"] <= 2 * SMALL.slots


def test_short_clips_do_not_wait_for_long_ones() -> None:
    """Ten hours of video are more than an hour's work for the chain alone."""
    told = simulate("stream", 3000, 120.0, copies=True, cluster=SMALL)
    assert told["longest_s"] > 1000
    assert told["short_p99_s"] < 120


def test_copies_cut_the_tail_where_pieces_get_stuck() -> None:
    stuck = replace(SMALL, stuck=0.02, mtbf_s=1e9)
    tails = [
        simulate("stream", 3000, 600.0, copies=copies, cluster=stuck)["short_p999_s"]
        for copies in (False, True)
    ]
    assert tails[1] < tails[0]
