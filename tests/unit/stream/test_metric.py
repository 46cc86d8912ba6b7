"""Latencies and their quantiles."""

from __future__ import annotations

from stream.metric import Latency


def test_quantiles_are_nearest_rank() -> None:
    latency = Latency()
    assert latency.quantile(0.5) is None
    for i in range(1, 101):
        latency.add(i / 100)
    assert latency.quantile(0.0) == 0.01
    assert latency.quantile(0.5) == 0.51
    assert latency.quantile(0.99) == 1.0


def test_memory_is_bounded_and_the_oldest_go_first() -> None:
    latency = Latency()
    for _ in range(100_000):
        latency.add(9.0)
    for _ in range(100_000):
        latency.add(1.0)
    assert latency.count == 200_000
    assert latency.quantile(1.0) == 1.0
