"""The training of a V-net: what it learns, and what it says when it can't."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from clouds import OPTIONS, SURVEYED, MemoryLibrary, observe, stopping, weights_of

from gpdust.encoder import TrainingInterrupted, TrainingOptions, load_net, scale_inputs, train, training
from gpdust.encoder.learning import learn
from gpdust.encoder.precision import Precision, choose_device
from gpdust.encoder.state import fresh_state
from gpdust.errors import EncoderError


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("unbroken")
    train(MemoryLibrary(), folder, OPTIONS, observe, progress=False)
    return folder


# -- what it learns


def test_it_learns(tmp_path):
    options = replace(OPTIONS, epochs=15, learning_rate=1e-2, schedule="cosine")
    library = MemoryLibrary(60)
    net, record = train(library, tmp_path, options, observe, progress=False)
    truths = library[library.split(0)[2]]
    extinction = torch.from_numpy(np.stack([observe(one, 6.0, np.random.default_rng(9))[0] for one in truths]))
    with torch.no_grad():
        found = net(scale_inputs(("extinction",), extinction))[:, 0]
    target = 10 * np.log1p(truths)
    assert np.mean((found.numpy() - target) ** 2) < 0.35 * target.var()
    assert record["history"]["train"][-1] < 0.5 * record["history"]["train"][0]
    assert record["history"]["learning_rate"] == sorted(record["history"]["learning_rate"], reverse=True)
    assert record["history"]["learning_rate"][-1] == pytest.approx(0, abs=1e-12)


def test_the_record_says_what_was_done(unbroken):
    record = json.loads((unbroken / "training.json").read_text())
    assert record["finished"] is True
    assert record["library"] == {"recipe": "clouds", "seed": 1, "count": 30, "cells": 8, "cell_length": 6.0}
    assert record["cubes"] == {"training": 21, "validation": 6}
    assert record["options"]["symmetry"] == "square"
    assert record["versions"]["torch"] == torch.__version__
    assert record["device"] == {"name": "cpu", "precision": "off"}
    assert {len(entries) for entries in record["history"].values()} == {3}
    validation = record["history"]["validation"]
    assert record["best_validation_loss"] == min(validation) == validation[record["best_epoch"] - 1]
    # (27·(1·4 + 4·4) + 16) + (27·(4·8 + 8·8) + 32) + (27·8·4 + 8) + (27·(8·4 + 4·4) + 16) + 27·4 + 1
    assert record["parameters"] == 556 + 2624 + 872 + 1312 + 109
    library = MemoryLibrary()
    means = [library[i].mean() * 6 for i in library.split(0)[0]]
    assert record["trust"]["cell"] == pytest.approx(np.quantile(means, [0.01, 0.99]))
    _, known = load_net(unbroken / "vnet.safetensors")
    assert known["trust"] == record["trust"]
    assert known["cell_length"] == 6.0
    assert known["best_epoch"] == record["best_epoch"]


def test_the_best_epoch_is_kept(tmp_path, monkeypatch):
    losses = iter([0.3, 0.1, 0.2, 0.4, 0.0])
    monkeypatch.setattr(training, "mean_loss", lambda *_: next(losses))
    net, record = train(MemoryLibrary(), tmp_path, replace(OPTIONS, epochs=5, patience=2), observe, progress=False)
    assert record["history"]["validation"] == [0.3, 0.1, 0.2, 0.4]  # and patience was at its end
    assert record["best_epoch"] == 2
    losses = iter([0.3, 0.1])
    short, _ = train(MemoryLibrary(), tmp_path / "short", replace(OPTIONS, epochs=2), observe, progress=False)
    assert all(torch.equal(value, short.state_dict()[name]) for name, value in net.state_dict().items())


def test_a_dead_net_comes_back():
    state = fresh_state(OPTIONS)
    state.net.last.bias.data.fill_(-2.0)
    inputs = torch.rand(4, 1, 8, 8, 8)
    assert state.net(inputs).max() == 0
    for _ in range(60):
        learn(state, (inputs, 0.1 * inputs), 1e-2)
    outputs = state.net(inputs)
    assert (outputs > 0).float().mean() > 0.9
    assert (outputs - 0.1 * inputs).square().mean() < 1e-3


def test_small_densities_are_learned_from_the_first_step():
    state = fresh_state(replace(OPTIONS, width=16))
    state.net.start_at(0.02)
    losses, rng = [], torch.Generator().manual_seed(0)
    for _ in range(25):
        inputs = torch.rand(4, 1, 8, 8, 8, generator=rng)
        learn(state, (inputs, 0.04 * inputs), 1e-3)
        losses.append(state.loss)
        state.loss = 0.0
    assert max(losses) < 3 * losses[0]
    assert losses[-1] < 0.5 * losses[0]


def test_pieces_of_a_batch_add_up():
    states = [fresh_state(replace(OPTIONS, norm="group")) for _ in range(2)]
    for state in states:
        state.net.double()  # in single precision, rounding may turn a maximum or a ReLU, and with it a whole gradient
    batch = torch.rand(2, 4, 1, 8, 8, 8, dtype=torch.float64).unbind()
    learn(states[0], batch, 1e-3)
    learn(states[1], batch, 1e-3, piece=3)
    for whole, pieces in zip(*(state.net.parameters() for state in states), strict=True):
        torch.testing.assert_close(whole.grad, pieces.grad, rtol=1e-9, atol=1e-12)
    assert states[0].loss == pytest.approx(states[1].loss)


# -- what can go wrong


def test_errors_say_what_to_do(tmp_path):
    def train_with(library=None, sky=observe, **changes):
        train(library or MemoryLibrary(), tmp_path, replace(OPTIONS, **changes), sky, progress=False)

    with pytest.raises(EncoderError, match="multiples of 8"):
        train_with(depth=4)
    with pytest.raises(EncoderError, match="too small to train with"):
        train_with(MemoryLibrary(2))
    with pytest.raises(EncoderError, match="may hold NaN"):
        train_with(sky=lambda density, *_: (density * np.nan, density))
    with pytest.raises(EncoderError, match=r"no device 'nowhere'"):
        choose_device("nowhere")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"epochs": 0}, "epochs of a training must be 1 or more, got 0"),
        ({"learning_rate": 0}, "must be positive"),
        ({"accumulate": 5}, "between 1 and batch = 4"),
        ({"schedule": "steps"}, "no schedule 'steps'; there are constant, cosine"),
        ({"mixed_precision": "double"}, "no mixed_precision"),
        ({"symmetry": "cube"}, "no symmetry"),
        ({"norm": "none"}, "no norm"),
    ],
)
def test_options_are_checked(wrong, words):
    with pytest.raises(EncoderError, match=words):
        replace(OPTIONS, **wrong)


def test_defaults_are_those_of_the_paper():
    options = TrainingOptions()
    assert (options.batch, options.epochs, options.symmetry, options.schedule) == (32, 130, "none", "constant")
    assert options.shape.channels == (128, 256, 512, 1024)


# -- half precision


@pytest.mark.parametrize("name", ["bfloat16", "float16"])
def test_half_precision_learns_and_goes_on(tmp_path, name):
    options = replace(OPTIONS, mixed_precision=name, epochs=2, width=2)
    train(MemoryLibrary(), tmp_path / "unbroken", options, observe, progress=False)
    with pytest.raises(TrainingInterrupted):
        train(MemoryLibrary(), tmp_path, options, stopping(SURVEYED + 10, KeyboardInterrupt()), progress=False)
    _, record = train(MemoryLibrary(), tmp_path, options, observe, progress=False)
    assert record["device"]["precision"] == name
    assert weights_of(tmp_path) == weights_of(tmp_path / "unbroken")


def test_auto_precision_is_off_on_a_cpu():
    assert Precision("auto", torch.device("cpu")).name == "off"
    scaled = Precision("float16", torch.device("cpu"))
    assert scaled.state()["scale"] > 1
    scaled.restore({**scaled.state(), "scale": 8.0})
    assert scaled.state()["scale"] == 8.0


def test_progress_shows_losses(tmp_path, capsys):
    train(MemoryLibrary(), tmp_path, replace(OPTIONS, epochs=2), observe)
    shown = capsys.readouterr().err
    assert "epoch 2/2" in shown
    assert "validation " in shown
    assert "best " in shown
