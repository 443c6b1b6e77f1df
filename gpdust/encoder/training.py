"""The training of a V-net: Adam on the mean squared error, the best epoch kept, resumable bit for bit."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

from tqdm import tqdm

from gpdust.encoder.accuracy import Accuracy
from gpdust.encoder.feed import Batch, Feed, Library, Observe
from gpdust.encoder.interrupt import Interrupt
from gpdust.encoder.learning import learn, mean_loss
from gpdust.encoder.net_file import load_net, save_net
from gpdust.encoder.options import TrainingOptions
from gpdust.encoder.products import TrainingFolder
from gpdust.encoder.state import fresh_state
from gpdust.encoder.vnet import VNet
from gpdust.errors import EncoderError

KEPT_BYTES = 2**30  # of observed validation cubes; more are observed again each epoch


class TrainingInterrupted(KeyboardInterrupt):
    """A training was interrupted; its message says where it goes on."""


def train(
    library: Library,
    folder: str | PathLike,
    options: TrainingOptions,
    observe: Observe,
    progress: bool = True,
    facts: dict | None = None,
) -> tuple[VNet, dict]:
    """Train a V-net on simulated cubes, or go on with a training that was stopped.

    A training that was stopped, at whatever moment, ends with the same weights as one that was not, on the same kind
    of machine with the same number of threads. (On a GPU, some sums of torch have no order of their own; there it is
    the same but for rounding.)

    Parameters
    ----------
    library : Library
        Densities; of its split, the test cubes are never looked at.
    folder : path-like
        Written to it are vnet.safetensors (the best net so far; see `load_net`), training.json (the record) and
        checkpoint.safetensors, from which the same call goes on. After the end it still does, with more epochs, where
        the learning rate is constant.
    options : TrainingOptions
    observe : callable
        (density, cell length, generator) -> (extinction, information); safe to be called from threads.
    progress : bool
        Show a bar with the losses and the time left.
    facts : dict, optional
        Plain values to be recorded that decide the training too: how `observe` observes.

    Returns
    -------
    net : VNet
        With the weights of the lowest validation loss.
    record : dict
        What training.json holds.

    Raises
    ------
    EncoderError
        If cubes and net don't fit, the loss is not a number, or the checkpoint is that of another training.
    TrainingInterrupted
        On Ctrl-C, after the checkpoint has been written.
    """
    run = _Run(Feed(library, options, observe), Path(folder), facts or {})
    bar = tqdm(total=options.epochs * run.steps, disable=not progress, unit="batch", dynamic_ncols=True, desc="train")
    with Interrupt() as interrupt, bar:
        try:
            run.begin()
            run.go_on(bar, interrupt)
        except KeyboardInterrupt:
            raise TrainingInterrupted(run.save_if_whole()) from None
    return run.finish()


class _Run:
    """One call of `train`: where it stands, and what comes next."""

    def __init__(self, feed: Feed, folder: Path, facts: dict) -> None:
        self.feed, self.options = feed, feed.options
        library, options = feed.library, feed.options
        options.shape.check_cells((library.cells,) * 3)
        self.training, self.validation, _ = library.split(options.split_seed)
        if not len(self.training) or not len(self.validation):
            raise EncoderError(f"a library of {len(library)} cubes is too small to train with; simulate more")
        self.steps = feed.steps(self.training)
        about = {"recipe": library.recipe, "seed": library.seed, "count": len(library)}
        about |= {"cells": library.cells, "cell_length": float(library.cell_length)}
        self.folder = TrainingFolder(folder, options, about, facts)
        self.state = fresh_state(options)
        self.whole = False  # whether the state is one between two steps
        self.kept: list[Batch] | None = None
        self.clocked = self.saved = time.monotonic()

    def begin(self) -> None:
        """Go on from the checkpoint where there is one, else look at the training cubes."""
        if self.folder.checkpoint.exists():
            self.state.restore(self.folder.checkpoint, self.folder.decided_by)
        else:
            trust, mean = self.feed.survey(self.training)
            self.state.survey = {"trust": trust.as_dict(), "mean": mean}
            self.state.net.start_at(mean)
        self.whole = True
        self.clocked = self.saved = time.monotonic()

    def go_on(self, bar: tqdm, interrupt: Interrupt) -> None:
        """Train until the last epoch, or until `patience` is at its end."""
        state, options = self.state, self.options
        bar.update(state.epoch * self.steps + state.batch)
        while state.epoch < options.epochs and not self._out_of_patience():
            for batch in self.feed.training(self.training, state.epoch, state.batch):
                with self._changing():
                    learn(state, batch, self._rate(), options.accumulate)
                bar.update()
                self._show(bar)
                interrupt.check()
                if time.monotonic() - self.saved > 60 * options.checkpoint_minutes:
                    self._save()
            loss = mean_loss(state, self._validation(), options.accumulate)
            interrupt.check()
            with self._changing():
                self._end_epoch(loss)
            self._show(bar)

    def finish(self) -> tuple[VNet, dict]:
        """Write the best net and the record, and return them."""
        self.folder.write_net(self.state)
        net, known = load_net(self.folder.net)
        accuracy = Accuracy.of_net(net, self.feed.validation_cubes(self.validation), self.feed.library.cell_length)
        found = {"accuracy": accuracy.as_dict()}
        save_net(self.folder.net, net, known | found)
        return net, self._write_record(finished=True, found=found)

    def save_if_whole(self) -> str:
        """Write a checkpoint unless a step was cut in two, and say what there is to go on from."""
        if self.whole:
            self._save()
        checkpoint, epoch = self.folder.checkpoint, self.state.epoch + 1
        kept = f"the same again goes on from {checkpoint}" if checkpoint.exists() else "nothing was learned yet"
        return f"interrupted in epoch {epoch} of {self.options.epochs}; {kept}"

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Mark the state as one that must not be saved, until the change is done."""
        self.whole = False
        yield
        self.whole = True

    def _rate(self) -> float:
        done = self.state.epoch * self.steps + self.state.batch
        return self.options.rate(done / (self.options.epochs * self.steps))

    def _validation(self) -> Iterable[Batch]:
        """Observed validation cubes, from memory if they fit."""
        if self.kept is not None:
            return self.kept
        batches = self.feed.validation(self.validation)
        numbers = (len(self.options.inputs) + 1) * self.feed.library.cells**3 * len(self.validation)
        if 4 * numbers > KEPT_BYTES:
            return batches
        self.kept = list(batches)
        return self.kept

    def _end_epoch(self, validation: float) -> None:
        self._clock()
        improved = self.state.end_epoch(self.steps, validation, self._rate())
        self._save()
        if improved:
            self.folder.write_net(self.state)
        self._write_record(finished=False)

    def _save(self) -> None:
        self._clock()
        self.state.save(self.folder.checkpoint, self.folder.decided_by)
        self.saved = time.monotonic()

    def _clock(self) -> None:
        """Put the time since the last call on the account of this epoch."""
        now = time.monotonic()
        self.state.seconds += now - self.clocked
        self.clocked = now

    def _out_of_patience(self) -> bool:
        patience, best = self.options.patience, self.state.best_epoch
        return bool(patience) and best is not None and self.state.epoch - 1 - best >= patience

    def _write_record(self, finished: bool, found: dict | None = None) -> dict:
        cubes = {"training": len(self.training), "validation": len(self.validation)}
        return self.folder.write_record(self.state, cubes, finished, found or {})

    def _show(self, bar: tqdm) -> None:
        """Epoch and losses, beside tqdm's own time left."""
        state, losses = self.state, self.state.history["validation"]
        words = [f"train {state.loss / state.batch:.3e}"] if state.batch else []
        if losses:
            words += [f"validation {losses[-1]:.3e}", f"best {min(losses):.3e} in epoch {state.best_epoch + 1}"]
        epochs = self.options.epochs
        bar.set_description_str(f"epoch {min(state.epoch + 1, epochs)}/{epochs}", refresh=False)
        bar.set_postfix_str(", ".join(words), refresh=not state.batch)
