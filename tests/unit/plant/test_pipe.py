"""Plug flow."""

from __future__ import annotations

import random

import pytest

from plant.pipe import Pipe


def test_a_step_comes_out_one_volume_later() -> None:
    pipe = Pipe(1.0, 5.0)
    out = [pipe.push(0.1, 12.0) for _ in range(12)]
    assert out == pytest.approx([5.0] * 10 + [12.0] * 2)


def test_no_heat_is_lost_whatever_the_flow() -> None:
    rng = random.Random(1)
    pipe = Pipe(0.7, 6.0)
    for _ in range(500):
        before, volume, temperature = pipe.content, rng.uniform(0.0, 1.5), rng.uniform(0.0, 20.0)
        out = pipe.push(volume, temperature)
        assert pipe.content == pytest.approx(before + volume * (temperature - out), abs=1e-9)


def test_a_push_of_more_than_the_volume_brings_out_some_of_itself() -> None:
    assert Pipe(1.0, 5.0).push(2.0, 11.0) == pytest.approx(8.0)


def test_standing_water_shows_what_stands_at_the_end() -> None:
    assert Pipe(1.0, 5.0).push(0.0, 99.0) == 5.0
