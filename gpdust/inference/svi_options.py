"""Settings of svi."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class SVIOptions:
    """Settings of the engine; the defaults are meant to be left alone.

    Attributes
    ----------
    particles : int
        Joint draws for each gradient.
    learning_rate : float
        Of the mean: the share of the way that a short step goes, and the longest step in posterior standard deviations;
        three times that once natural gradients shape the covariance.
    natural_gradients : bool
        Whether the covariance takes natural-gradient steps; else AdamW moves its factor T in a last phase.
    covariance_rate : float
        AdamW's, of the factor T, at most; 1 / M where that is less, since the noise of its M² entries adds up.
    theta_reach : float
        First trust radius of the hyperparameters, in posterior standard deviations; it grows where steps gain and
        shrinks where they lose.
    inducing_rate : float
        Longest step of learned inducing points, in length scales.
    temper_factor : float
        By how much the likelihood's weight grows from stage to stage.
    temper_steps, learn_steps, settle_steps : int
        Steps of one stage of each phase.
    fading_stages : int
        Last stages of natural gradients, in which the rates fall.
    polish_steps : int
        Steps of the last phase without natural gradients.
    max_steps : int
        Steps of all phases together; the fit then stops and says that it has not converged.
    tolerance : float
        Gain in ELBO per stage, nats, that is not worth another stage.
    """

    particles: int = 32
    learning_rate: float = 0.4
    natural_gradients: bool = True
    covariance_rate: float = 0.002
    theta_reach: float = 4.0
    inducing_rate: float = 0.02
    temper_factor: float = math.e
    temper_steps: int = 5
    learn_steps: int = 15
    settle_steps: int = 5
    fading_stages: int = 8
    polish_steps: int = 300
    max_steps: int = 4000
    tolerance: float = 1.0
