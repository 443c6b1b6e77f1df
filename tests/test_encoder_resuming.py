"""A training of a V-net that was stopped goes on bit for bit."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from clouds import OPTIONS, SURVEYED, MemoryLibrary, observe, stopping, weights_of

from gpdust.encoder import TrainingInterrupted, train, training
from gpdust.encoder.interrupt import Interrupt
from gpdust.errors import EncoderError


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("unbroken")
    train(MemoryLibrary(), folder, OPTIONS, observe, progress=False)
    return folder


def test_threads_change_nothing(unbroken, tmp_path):
    train(MemoryLibrary(), tmp_path, replace(OPTIONS, workers=2), observe, progress=False)
    assert weights_of(tmp_path) == weights_of(unbroken)


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
from dataclasses import replace
from clouds import OPTIONS, MemoryLibrary, observe
from gpdust.encoder import train
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


def test_validation_need_not_fit_into_memory(unbroken, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "KEPT_BYTES", 0)
    train(MemoryLibrary(), tmp_path, OPTIONS, observe, progress=False)
    assert weights_of(tmp_path) == weights_of(unbroken)
