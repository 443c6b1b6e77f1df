"""What a V-net is fed with."""

import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from clouds import OPTIONS, MemoryLibrary, observe

from gpdust.encoder import feed
from gpdust.encoder.feed import ORDER, SURVEY, TRAINING, TURN, VALIDATION, Feed, ahead


def test_feed_depends_on_seed_epoch_and_index_only():
    library = MemoryLibrary()
    indices = library.split(0)[0]

    def epoch(number, **changes):
        made = Feed(library, replace(OPTIONS, **changes), observe).training(indices, number)
        return [(inputs.numpy(), targets.numpy()) for inputs, targets in made]

    one, threads = epoch(2), epoch(2, workers=2)
    assert len(one) == 21 // 4
    for ours, theirs in zip(one, threads, strict=True):
        np.testing.assert_array_equal(ours[0], theirs[0])
        np.testing.assert_array_equal(ours[1], theirs[1])
    later = list(Feed(library, OPTIONS, observe).training(indices, 2, start=3))
    np.testing.assert_array_equal(later[0][0].numpy(), one[3][0])
    assert not np.array_equal(epoch(3)[0][1], one[0][1])
    assert not np.array_equal(epoch(2, seed=6)[0][1], one[0][1])
    assert len({ORDER, TURN, TRAINING, VALIDATION, SURVEY}) == 5


def test_symmetries_come_before_the_sky():
    library, seen = MemoryLibrary(), []

    def note(density, cell_length, rng):
        seen.append(density)
        return density, density

    indices = library.split(0)[0]
    one = Feed(library, replace(OPTIONS, inputs=("extinction",)), note)
    (inputs, targets), *_ = one.training(indices, 0)
    plain = {library[int(i)].tobytes() for i in indices}
    assert sum(cube.tobytes() not in plain for cube in seen) > len(seen) / 2
    torch.testing.assert_close(10 * inputs, targets)  # what is learned was turned as what was seen
    seen.clear()
    list(one.validation(indices))
    assert {cube.tobytes() for cube in seen} == plain


def test_ahead_keeps_order_and_passes_errors_on():
    def slow(item):
        time.sleep(0.002 * (item % 3))
        if item == 17:
            raise ValueError("no 17")
        return item

    assert list(ahead(slow, range(17), 3)) == list(range(17))
    with pytest.raises(ValueError, match="no 17"):
        list(ahead(slow, range(30), 3))


def test_the_survey_looks_at_so_many_cubes(monkeypatch):
    monkeypatch.setattr(feed, "SURVEYED", 5)
    library, seen = MemoryLibrary(), []

    def note(density, cell_length, rng):
        seen.append(density)
        return density, density

    trust, mean = Feed(library, OPTIONS, note).survey(library.split(0)[0])
    assert len(seen) == 5
    assert mean == pytest.approx(10 * np.log1p(np.array(seen)).mean(), rel=1e-5)
    assert trust.extinction == pytest.approx(np.quantile(np.array(seen).max(axis=(1, 2, 3)), [0.01, 0.99]))
