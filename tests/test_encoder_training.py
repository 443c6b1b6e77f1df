"""The training of a V-net: what it learns, and that it goes on bit for bit."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gpdust.encoder import TrainingInterrupted, TrainingOptions, feed, load_net, scale_inputs, train, training
from gpdust.encoder.feed import ORDER, SURVEY, TRAINING, TURN, VALIDATION, Feed, ahead
from gpdust.encoder.interrupt import Interrupt
from gpdust.encoder.learning import learn
from gpdust.encoder.precision import Precision, choose_device
from gpdust.encoder.state import fresh_state
from gpdust.errors import EncoderError

CELLS = 8
OPTIONS = TrainingOptions(
    epochs=3, batch=4, learning_rate=3e-3, width=4, depth=2, symmetry="square", seed=5, workers=0, device="cpu"
)


@dataclass
class MemoryLibrary:
    """Smooth clouds, made when they are asked for."""

    count: int = 30
    seed: int = 1
    cells: int = CELLS
    cell_length: float = 6.0
    recipe: str = "clouds"

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index):
        if np.ndim(index):
            return np.stack([self[int(i)] for i in index])
        rng = np.random.default_rng([self.seed, int(index)])
        place = np.indices((self.cells,) * 3) + 0.5
        centre = rng.uniform(0, self.cells, (3, 1, 1, 1))
        distance = np.square(place - centre).sum(axis=0) / self.cells
        return (rng.uniform(0.01, 0.1) * np.exp(-distance)).astype(np.float32)

    def split(self, seed):
        order = np.random.default_rng(seed).permutation(self.count)
        return np.split(order, [int(0.72 * self.count), int(0.9 * self.count)])


def observe(density, cell_length, rng):
    """Cells behind one another instead of lines of sight, with noise."""
    extinction = np.cumsum(density, axis=0) * cell_length + rng.normal(0, 0.01, density.shape)
    return extinction.astype(np.float32), np.full(density.shape, 1e4, np.float32)


def weights_of(folder: Path) -> bytes:
    return (folder / "vnet.safetensors").read_bytes()


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("unbroken")
    train(MemoryLibrary(), folder, OPTIONS, observe, progress=False)
    return folder


def stopping(after: int, error: BaseException):
    """An observer that fails at its `after`th cube."""
    calls = 0

    def observe_or_fail(density, cell_length, rng):
        nonlocal calls
        calls += 1
        if calls == after:
            raise error
        return observe(density, cell_length, rng)

    return observe_or_fail


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
    batch = torch.rand(4, 1, 8, 8, 8), torch.rand(4, 1, 8, 8, 8)
    learn(states[0], batch, 1e-3)
    learn(states[1], batch, 1e-3, piece=3)
    for whole, pieces in zip(*(state.net.parameters() for state in states), strict=True):
        torch.testing.assert_close(whole.grad, pieces.grad, rtol=1e-4, atol=1e-6)
    assert states[0].loss == pytest.approx(states[1].loss)


# -- what it is fed with


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


def test_validation_need_not_fit_into_memory(unbroken, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "KEPT_BYTES", 0)
    train(MemoryLibrary(), tmp_path, OPTIONS, observe, progress=False)
    assert weights_of(tmp_path) == weights_of(unbroken)


# -- going on


def test_threads_change_nothing(unbroken, tmp_path):
    train(MemoryLibrary(), tmp_path, replace(OPTIONS, workers=2), observe, progress=False)
    assert weights_of(tmp_path) == weights_of(unbroken)


SURVEYED = 21  # cubes that are looked at before the first epoch, which has 20 and then 6 for validation


@pytest.mark.parametrize("after", [SURVEYED + 10, SURVEYED + 26 + 15, SURVEYED + 23])
def test_interrupted_it_goes_on_bit_for_bit(unbroken, tmp_path, after):
    with pytest.raises(TrainingInterrupted, match=r"in epoch . of 3; the same again goes on from .*checkpoint"):
        train(MemoryLibrary(), tmp_path, OPTIONS, stopping(after, KeyboardInterrupt()), progress=False)
    train(MemoryLibrary(), tmp_path, OPTIONS, observe, progress=False)
    assert weights_of(tmp_path) == weights_of(unbroken)
    before, again = (json.loads((folder / "training.json").read_text()) for folder in (unbroken, tmp_path))
    assert again["history"]["validation"] == before["history"]["validation"]
    assert again["history"]["train"] == before["history"]["train"]


def test_crashed_it_goes_on_bit_for_bit(unbroken, tmp_path):
    options = replace(OPTIONS, checkpoint_minutes=0.0)  # after each batch
    with pytest.raises(RuntimeError, match="crash"):
        train(MemoryLibrary(), tmp_path, options, stopping(SURVEYED + 15, RuntimeError("crash")), progress=False)
    train(MemoryLibrary(), tmp_path, OPTIONS, observe, progress=False)
    assert weights_of(tmp_path) == weights_of(unbroken)


def test_killed_it_goes_on_bit_for_bit(tmp_path):
    """In processes of their own, as commands are: libraries may sum in another order in one that has done much else."""

    def child(folder: str, pause: float) -> subprocess.Popen:
        code = f"""
import sys, time, torch
sys.path.insert(0, {str(Path(__file__).parent)!r})
torch.set_num_threads(1)
from test_encoder_training import OPTIONS, MemoryLibrary, observe, replace, train
def slowly(*given):
    time.sleep({pause})
    return observe(*given)
train(MemoryLibrary(), {str(tmp_path / folder)!r}, replace(OPTIONS, checkpoint_minutes=0.0), slowly, progress=False)
"""
        return subprocess.Popen([sys.executable, "-c", code])

    killed, record = child("killed", 0.02), tmp_path / "killed" / "training.json"
    deadline = time.monotonic() + 120
    while not record.exists() and time.monotonic() < deadline:  # one epoch is done
        assert killed.poll() is None
        time.sleep(0.02)
    time.sleep(0.3)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    assert not json.loads(record.read_text())["finished"]
    assert child("killed", 0.0).wait() == 0
    assert child("unbroken", 0.0).wait() == 0
    assert weights_of(tmp_path / "killed") == weights_of(tmp_path / "unbroken")


def test_more_epochs_go_on_bit_for_bit(unbroken, tmp_path, monkeypatch):
    train(MemoryLibrary(), tmp_path, replace(OPTIONS, epochs=1), observe, progress=False)
    _, record = train(MemoryLibrary(), tmp_path, OPTIONS, observe, progress=False)
    before = json.loads((unbroken / "training.json").read_text())
    assert record["history"]["validation"] == before["history"]["validation"]
    assert weights_of(tmp_path) == weights_of(unbroken)
    monkeypatch.setattr(training, "learn", None)
    train(MemoryLibrary(), tmp_path, OPTIONS, observe, progress=False)
    assert weights_of(tmp_path) == weights_of(unbroken)  # a finished one is read, and no more is learned


def test_another_training_is_not_gone_on_with(unbroken, tmp_path):
    copy = tmp_path / "checkpoint.safetensors"
    copy.write_bytes((unbroken / "checkpoint.safetensors").read_bytes())
    changed = replace(OPTIONS, batch=5, learning_rate=1e-3)
    with pytest.raises(EncoderError, match=r"different: library.count, training.batch, training.learning_rate"):
        train(MemoryLibrary(40), tmp_path, changed, observe, progress=False)
    with pytest.raises(EncoderError, match=r"different: facts.stars"):
        train(MemoryLibrary(), tmp_path, OPTIONS, observe, progress=False, facts={"stars": 5})
    with pytest.raises(EncoderError, match=r"different: training.epochs, training.schedule"):
        train(MemoryLibrary(), tmp_path, replace(OPTIONS, schedule="cosine"), observe, progress=False)
    copy.write_bytes(b"nothing")
    with pytest.raises(EncoderError, match="is not a checkpoint of a training"):
        train(MemoryLibrary(), tmp_path, OPTIONS, observe, progress=False)


def test_an_interrupt_waits_for_the_step():
    before = signal.getsignal(signal.SIGINT)  # which a shell's background jobs ignore
    with Interrupt() as interrupt:
        interrupt.check()
        signal.raise_signal(signal.SIGINT)  # nothing happens yet
        with pytest.raises(KeyboardInterrupt):
            interrupt.check()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_step_cut_in_two_is_not_saved(tmp_path, monkeypatch):
    def cut(state, *_):
        next(state.net.parameters()).data.zero_()
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "learn", cut)
    with pytest.raises(TrainingInterrupted, match="nothing was learned yet"):
        train(MemoryLibrary(), tmp_path, OPTIONS, observe, progress=False)
    assert not list(tmp_path.iterdir())


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
