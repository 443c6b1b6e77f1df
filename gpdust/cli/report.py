"""What a run says at its end."""

from __future__ import annotations

from gpdust.cli.pipeline import Run
from gpdust.record import peak_memory_mib


def end_report(run: Run) -> str:
    """Engine, convergence, hyperparameters, stars, residuals, files, time and memory in a few lines."""
    residuals = run.record["residuals"]
    median, spread = residuals["median_mag"], residuals["robust_sigma_mag"]
    files = ", ".join(["fit.json", *run.record["products"]])
    meta = run.posterior.meta
    return "\n".join(
        [
            "",
            f"engine      {meta['engine']} ({meta['engine_why']})",
            f"fit         {run.posterior.report}",
            *(f"            {line}" for line in run.posterior.hyperparameter_table().splitlines()),
            *(f"            {line}" for line in run.posterior.noise_table.splitlines()),
            f"stars       {run.model.stars_used}{_held_out(run)}",
            f"residuals   predicted − observed: median {median:+.3g} mag, robust σ {spread:.3g} mag, "
            f"{residuals['robust_sigma_over_error']:.2f} times the stars' errors",
            f"written     {run.folder.path}: {files}",
            f"time        {run.watch}{_memory()}",
        ]
    )


def _held_out(run: Run) -> str:
    return f"; held out: {len(run.held_out)}, for `gpdust check {run.folder.path}`" if len(run.held_out) else ""


def _memory() -> str:
    peak = peak_memory_mib()
    return "" if peak is None else f"; peak memory {peak:.0f} MiB"
