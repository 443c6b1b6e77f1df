"""A posterior in a folder: comes back the same, runs no code, and says what is wrong with a bad one."""

import json

import astropy.units as u
import numpy as np
import pytest
import torch
from gpytorch.kernels import MaternKernel, RBFKernel, ScaleKernel
from numpy.testing import assert_array_equal

import gpdust
from gpdust.errors import PosteriorError


@pytest.fixture
def folder(small_posterior, tmp_path):
    return small_posterior.save(tmp_path / "orion")


@pytest.mark.parametrize("name", ["small_posterior", "learned_posterior"])
def test_a_posterior_comes_back_the_same(request, tmp_path, name):
    posterior = request.getfixturevalue(name)
    loaded = gpdust.Posterior.load(posterior.save(tmp_path / "orion"))
    one, other = (each.percentiles([16, 50, 84], samples=20) for each in (posterior, loaded))
    assert_array_equal(other.density_values, one.density_values)
    assert_array_equal(other.extinction_values, one.extinction_values)
    assert other.meta == one.meta
    assert loaded.hyperparameters == posterior.hyperparameters
    assert loaded.hyperparameter_table() == posterior.hyperparameter_table()
    assert loaded.report == posterior.report
    assert loaded.trace == posterior.trace
    assert loaded.grid.description() == posterior.grid.description()
    assert repr(loaded) == repr(posterior)


def test_a_posterior_on_a_healpix_grid_with_a_kernel_of_parts_comes_back_the_same(tmp_path, mock_stars, region):
    kernel = ScaleKernel(RBFKernel(ard_num_dims=3)) + ScaleKernel(MaternKernel(nu=0.5))
    for parameter in kernel.parameters():
        torch.nn.init.constant_(parameter, 20.0)
    kernel.kernels[0].outputscale = kernel.kernels[1].outputscale = 0.05
    model = gpdust.DustModel(mock_stars(), region.healpix_grid(8, 4), gpdust.InducingGP(kernel, 8, learn=False))
    posterior = gpdust.fit(model, progress=False)
    loaded = gpdust.Posterior.load(posterior.save(tmp_path / "orion"))
    assert_array_equal(loaded.sample(count=3)[0].value, posterior.sample(count=3)[0].value)


def test_a_kernel_that_can_not_be_described_is_not_stored_as_another(tmp_path, small_posterior, mock_stars, region):
    """A vertical profile: the kernel sees z only."""
    kernel = ScaleKernel(RBFKernel(active_dims=[2])).double()
    kernel.base_kernel.lengthscale, kernel.outputscale = 30.0, 0.09
    points = np.random.default_rng(0).uniform(-40, 40, (6, 3)) * u.pc
    model = gpdust.DustModel(mock_stars(), region.grid((2, 2, 4)), gpdust.InducingGP(kernel, points, learn=False))
    posterior = gpdust.fit(model, progress=False)
    try:
        loaded = gpdust.Posterior.load(posterior.save(tmp_path / "profile"))
    except gpdust.GpdustError:
        return
    assert_array_equal(loaded.sample(count=3)[0].value, posterior.sample(count=3)[0].value)


def test_a_stored_posterior_holds_no_pickle(folder):
    assert sorted(path.name for path in folder.iterdir()) == ["posterior.json", "posterior.safetensors"]
    for path in folder.iterdir():
        content = path.read_bytes()
        assert not content.startswith((b"\x80", b"PK"))
        assert b"torch._utils" not in content
    json.loads((folder / "posterior.json").read_text(encoding="utf-8"))


def test_saving_again_replaces_the_old_posterior(folder, learned_posterior):
    learned_posterior.save(folder)
    assert gpdust.Posterior.load(folder).hyperparameters == learned_posterior.hyperparameters


def test_a_folder_of_something_else_is_not_overwritten(tmp_path, small_posterior):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(PosteriorError, match="not overwritten"):
        small_posterior.save(tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def truncate(path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def rewrite(path, **changes) -> None:
    record = json.loads(path.read_text(encoding="utf-8"))
    for key, value in changes.items():
        record.pop(key) if value is None else record.__setitem__(key, value)
    path.write_text(json.dumps(record), encoding="utf-8")


def drop_tensor(path, name: str) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(path)
    del tensors[name]
    save_file(tensors, path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: truncate(folder / "posterior.json"), "damaged"),
        (lambda folder: truncate(folder / "posterior.safetensors"), "damaged"),
        (lambda folder: (folder / "posterior.safetensors").write_bytes(b"\x80\x04pickle"), "damaged"),
        (lambda folder: (folder / "posterior.json").unlink(), "posterior.json is missing"),
        (lambda folder: (folder / "posterior.safetensors").unlink(), "missing"),
        (lambda folder: rewrite(folder / "posterior.json", format=99), "format 99"),
        (lambda folder: rewrite(folder / "posterior.json", format=None), "format"),
        (lambda folder: rewrite(folder / "posterior.json", grid=None), "damaged"),
        (lambda folder: rewrite(folder / "posterior.json", grid={"kind": "cubic"}), "damaged"),
        (lambda folder: (folder / "posterior.json").write_text("[1, 2]"), "damaged|format"),
        (lambda folder: drop_tensor(folder / "posterior.safetensors", "mean"), "damaged"),
        (lambda folder: drop_tensor(folder / "posterior.safetensors", "points"), "damaged"),
    ],
    ids=[
        "record cut off",
        "tensors cut off",
        "tensors a pickle",
        "record missing",
        "tensors missing",
        "later format",
        "no format",
        "no grid",
        "unknown grid",
        "record a list",
        "no mean",
        "no points",
    ],
)
def test_a_damaged_posterior_is_an_error_for_people(folder, damage, message):
    damage(folder)
    with pytest.raises(PosteriorError, match=message):
        gpdust.Posterior.load(folder)


def test_loading_what_is_no_folder_is_an_error_for_people(tmp_path):
    with pytest.raises(PosteriorError, match="holds no posterior"):
        gpdust.Posterior.load(tmp_path / "nothing")
    (tmp_path / "maps.fits").write_text("SIMPLE")
    with pytest.raises(PosteriorError):
        gpdust.Posterior.load(tmp_path / "maps.fits")
