"""The spectral prior as a linear map, against GPyTorch's kernels."""

import json

import astropy.units as u
import numpy as np
import pytest
import torch
from gpytorch.kernels import MaternKernel, RBFKernel, ScaleKernel
from numpy.testing import assert_allclose
from torch.autograd import gradcheck

import gpdust
from gpdust.errors import GridError
from gpdust.prior import SampledVolume, SpectralGP
from gpdust.prior.box import PeriodicBox
from gpdust.prior.spectra import SPECTRUM_KNOTS

POINTS = torch.from_numpy(np.random.default_rng(0).uniform(-40, 40, (40, 3)))


def gpytorch_kernel(name: str, scales: tuple[float, ...], amplitude: float) -> ScaleKernel:
    base = RBFKernel(ard_num_dims=3) if name == "rbf" else MaternKernel(nu=int(name[-2]) / 2, ard_num_dims=3)
    kernel = ScaleKernel(base).double()
    kernel.base_kernel.lengthscale, kernel.outputscale = torch.tensor(scales, dtype=torch.float64), amplitude**2
    return kernel


def wide_box(spacing: float, padding: float) -> PeriodicBox:
    """So far from its images that their correlation does not count."""
    return PeriodicBox.around((-40.0,) * 3, (40.0,) * 3, (padding,) * 3, spacing)


def covariance(prior: SpectralGP, theta: torch.Tensor | None = None) -> torch.Tensor:
    linear_map = prior.at(POINTS, theta)
    identity = torch.eye(len(POINTS), dtype=torch.float64)
    return linear_map.apply(linear_map.adjoint(identity)) + torch.diag(linear_map.residual_variance)


@pytest.mark.parametrize(
    ("name", "scales", "bound"),
    [
        ("rbf", (30.0, 30.0, 30.0), 0.008),
        ("matern52", (30.0, 30.0, 30.0), 0.012),
        ("matern32", (30.0, 30.0, 30.0), 0.02),
        ("rbf", (26.0, 30.0, 36.0), 0.012),
        ("matern32", (26.0, 30.0, 36.0), 0.03),
    ],
)
def test_the_map_has_the_covariance_of_its_kernel(name, scales, bound):
    """Nodes every 4 pc; the bound is on any covariance, in units of the variance, and nearly all within one cell."""
    prior = SpectralGP(name, scales * u.pc, 0.4).with_box(wide_box(4.0, 130.0))
    expected = gpytorch_kernel(name, scales, 0.4)(POINTS).to_dense().detach()
    assert float((covariance(prior) - expected).abs().max()) < bound * 0.16


def test_the_rows_of_the_map_are_what_its_adjoint_makes_of_single_points():
    linear_map = SpectralGP(["rbf", "matern32"], [30, 36] * u.pc, [0.3, 0.2]).with_box(wide_box(8.0, 60.0)).at(POINTS)
    identity = torch.eye(len(POINTS), dtype=torch.float64)
    assert_allclose(linear_map.rows(slice(5, 31)), linear_map.adjoint(identity)[5:31], atol=1e-14)


def test_a_sum_of_kernels_has_the_sum_of_covariances():
    prior = SpectralGP(["rbf", "matern32"], [[30, 26, 34], [36, 36, 36]] * u.pc, [0.3, 0.2])
    kernel = gpytorch_kernel("rbf", (30, 26, 34), 0.3) + gpytorch_kernel("matern32", (36, 36, 36), 0.2)
    difference = covariance(prior.with_box(wide_box(4.0, 130.0))) - kernel(POINTS).to_dense().detach()
    assert float(difference.abs().max()) < 0.015 * 0.13


def test_the_error_of_the_covariance_falls_with_the_square_of_the_spacing():
    expected = gpytorch_kernel("rbf", (30, 30, 30), 0.4)(POINTS).to_dense().detach()
    prior = SpectralGP("rbf", 30 * u.pc, 0.4)
    coarse, fine = (
        float((covariance(prior.with_box(wide_box(spacing, 130.0))) - expected).abs().max()) for spacing in (10.0, 5.0)
    )
    assert 3 < coarse / fine < 5


def test_the_mean_variance_over_places_is_that_of_the_kernel():
    """What interpolation damps is raised again, and what lies beyond the modes of the box is left out."""
    prior = SpectralGP("matern12", 30 * u.pc, 0.4).with_box(wide_box(10.0, 150.0))
    places = torch.from_numpy(np.random.default_rng(1).uniform(-40, 40, (800, 3)))
    linear_map = prior.at(places)
    kept = float((prior.mode_variance(None) * prior.box.multiplicity()).sum())
    assert 0.02 < 1 - kept / 0.16 < prior.misplaced_variance() < 0.5
    assert (linear_map.residual_variance == 0).all()
    rows = torch.stack([linear_map.adjoint(one).square().sum() for one in torch.eye(800, dtype=torch.float64)[:400]])
    assert_allclose(rows.mean(), kept, rtol=0.02)


@pytest.mark.parametrize("kernel", ["matern32", "spectrum", ["rbf", "spectrum"]], ids=str)
def test_apply_and_adjoint_are_adjoint_over_batches(kernel):
    parts = 1 if isinstance(kernel, str) else 2
    prior = SpectralGP(kernel, [20.0] * parts * u.pc, [0.3] * parts).with_box(wide_box(12.0, 60.0))
    linear_map = prior.at(POINTS, 0.3 * torch.ones(prior.theta_size, dtype=torch.float64))
    generator = torch.Generator().manual_seed(0)
    v = torch.randn(3, prior.latent_size, dtype=torch.float64, generator=generator)
    y = torch.randn(3, 40, dtype=torch.float64, generator=generator)
    assert_allclose((linear_map.apply(v) * y).sum(-1), (v * linear_map.adjoint(y)).sum(-1), rtol=1e-12)


@pytest.mark.parametrize(
    "kernel", ["rbf", "matern12", "matern32", "matern52", "spectrum", ["rbf", "matern32"]], ids=str
)
def test_the_map_is_differentiable_in_hyperparameters(kernel):
    parts = 1 if isinstance(kernel, str) else len(kernel)
    prior = SpectralGP(kernel, [30.0] * parts * u.pc, [0.3] * parts)
    prior = prior.with_box(PeriodicBox((-45.0,) * 3, (180.0, 160.0, 200.0), (6, 6, 8)))
    latents = torch.randn(2, prior.latent_size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    interpolation = prior.interpolation(POINTS[:4])

    def parts_of_map(theta):
        linear_map = prior.at(interpolation, theta)
        return linear_map.apply(latents), linear_map.mean, linear_map.residual_variance

    theta = torch.linspace(-0.4, 0.5, prior.theta_size, dtype=torch.float64)
    assert gradcheck(parts_of_map, (theta.requires_grad_(),), atol=1e-7)


def test_theta_changes_the_map_as_its_physical_values_say():
    prior = SpectralGP("matern32", [20, 30, 45] * u.pc, 0.4).with_box(wide_box(12.0, 60.0))
    theta = torch.tensor([0.5, 1.0, -1.0, 0.2, -0.6], dtype=torch.float64)
    physical = prior.hyperparameters.report(theta)
    scales = [physical[f"length_scale_{axis}"] for axis in "xyz"]
    mean = 10 ** physical["mean_log_density"] * u.mag / u.pc
    other = SpectralGP("matern32", scales * u.pc, physical["amplitude"], mean).with_box(prior.box)
    assert_allclose(covariance(prior, theta), covariance(other), rtol=1e-10, atol=1e-14)
    assert_allclose(prior.at(POINTS, theta).mean, other.at(POINTS).mean, rtol=1e-12)


@pytest.mark.parametrize("l", [(300, 60), (120, 240), (0, 360), (80, 100)])
@pytest.mark.parametrize("shape", [(20, 20, 35), (2, 20, 8)])
def test_the_box_holds_all_of_the_columns_whichever_way_they_lie(l, shape):
    region = gpdust.Region(l * u.deg, (-3, 3) * u.deg, (100, 1000) * u.pc)
    check_box_holds(region.grid(shape), region.grid((100, 5, 30)))


@pytest.mark.parametrize("nside", [1, 4, 16])
def test_the_box_holds_all_of_the_pixels(nside):
    edges = np.linspace(100, 1000, 11) * u.pc
    check_box_holds(gpdust.HealpixGrid(nside, edges), gpdust.HealpixGrid(32, edges))


def check_box_holds(grid, finer) -> None:
    volume = SampledVolume(grid, np.zeros(grid.shape, dtype=np.int64))
    prior = gpdust.SpectralGP("matern32", 30 * u.pc, box_spacing=30 * u.pc).placed(volume)
    points = torch.from_numpy(finer.cell_points()).reshape(-1, 3)
    assert len(prior.interpolation(points)) == len(points)


def test_fields_are_the_map_of_their_latents():
    prior = SpectralGP("matern32", 30 * u.pc, 0.4).with_box(wide_box(12.0, 60.0))
    latents = torch.randn(3, prior.latent_size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    theta = torch.full((5,), 0.2, dtype=torch.float64)
    log_density, residual = prior.fields(latents, theta).read(POINTS)
    linear_map = prior.at(POINTS, theta)
    assert_allclose(log_density, linear_map.log_density(latents), rtol=1e-12)
    assert_allclose(residual, linear_map.residual_variance, rtol=1e-12)


SINGLE = ["length_scale_x", "length_scale_y", "length_scale_z", "amplitude", "mean_log_density"]
SPECTRUM = [f"spectrum_{knot}" for knot in range(1, SPECTRUM_KNOTS + 1)]


@pytest.mark.parametrize(
    ("kernel", "names"),
    [
        ("rbf", SINGLE),
        ("spectrum", ["length_scale", *SPECTRUM, "amplitude", "mean_log_density"]),
        (
            ["rbf", "matern12"],
            [
                f"{family}_{part}{axis}"
                for part in (1, 2)
                for family, axes in (("length_scale", "xyz"), ("amplitude", ""))
                for axis in ([f"_{a}" for a in axes] or [""])
            ]
            + ["mean_log_density"],
        ),
        (
            ["spectrum", "rbf"],
            [
                "length_scale_1",
                *[f"spectrum_1_{knot}" for knot in range(1, SPECTRUM_KNOTS + 1)],
                *["amplitude_1", "length_scale_2_x", "length_scale_2_y", "length_scale_2_z", "amplitude_2"],
                "mean_log_density",
            ],
        ),
    ],
    ids=str,
)
def test_hyperparameters_have_names_of_their_own(kernel, names):
    parts = 1 if isinstance(kernel, str) else len(kernel)
    prior = SpectralGP(
        kernel, [10.0 * (part + 1) for part in range(parts)] * u.pc, [0.1 * (p + 1) for p in range(parts)]
    )
    report = prior.hyperparameters.report(None)
    assert list(report) == names
    for name, value in report.items():
        part = 2 if "_2" in name and not name.startswith("spectrum") else 1
        expected = {"len": 10.0 * part, "amp": 0.1 * part, "mea": -3.0, "spe": 0.0}[name[:3]]
        assert_allclose(value, expected, rtol=1e-12, err_msg=name)


@pytest.mark.parametrize(
    ("kernel", "learn", "learned"),
    [
        ("rbf", True, SINGLE),
        ("rbf", False, []),
        ("rbf", ["length_scale"], SINGLE[:3]),
        ("rbf", ["amplitude", "length_scale_z"], ["length_scale_z", "amplitude"]),
        ("spectrum", ["spectrum"], SPECTRUM),
        (["rbf", "rbf"], ["amplitude"], ["amplitude_1", "amplitude_2"]),
        (["rbf", "rbf"], ["length_scale_2"], ["length_scale_2_x", "length_scale_2_y", "length_scale_2_z"]),
    ],
    ids=str,
)
def test_a_family_of_hyperparameters_is_learned_by_its_name(kernel, learn, learned):
    parts = 1 if isinstance(kernel, str) else len(kernel)
    prior = SpectralGP(kernel, [20.0] * parts * u.pc, [0.3] * parts, learn=learn)
    assert [parameter.name for parameter in prior.hyperparameters.learned()] == learned
    assert prior.theta_size == len(learned)


@pytest.mark.parametrize("kernel", ["rbf", "matern12", "spectrum", ["rbf", "spectrum"]], ids=str)
@pytest.mark.parametrize("placed", [True, False])
def test_a_prior_is_built_again_from_its_description(region, kernel, placed):
    parts = 1 if isinstance(kernel, str) else 2
    prior = SpectralGP(
        kernel, [30.0, 40.0][:parts] * u.pc, [0.3, 0.1][:parts], learn=["amplitude"], box_spacing=15 * u.pc
    )
    if placed:
        grid = region.grid((2, 2, 6))
        prior = prior.placed(SampledVolume(grid, np.zeros(grid.shape, dtype=np.int64)))
    again = SpectralGP.from_description(json.loads(json.dumps(prior.description())))
    assert again.description() == prior.description()
    assert again.hyperparameters == prior.hyperparameters and again.box == prior.box
    assert str(again) == str(prior) and again.kernel_name == prior.kernel_name
    if placed:
        points = torch.from_numpy(grid.cell_points()).reshape(-1, 3)
        theta = torch.full((prior.theta_size,), 0.4, dtype=torch.float64)
        v = torch.randn(prior.latent_size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        assert torch.equal(again.at(points, theta).log_density(v), prior.at(points, theta).log_density(v))


@pytest.mark.parametrize("distance", [(0, 120), (80, 120)])
@pytest.mark.parametrize("kind", ["spherical", "healpix"])
def test_a_box_holds_the_whole_sky(distance, kind):
    sky = gpdust.Region((0, 360) * u.deg, (-90, 90) * u.deg, distance * u.pc)
    grid = sky.grid((8, 6, 4)) if kind == "spherical" else sky.healpix_grid(2, 4)
    model = gpdust.DustModel([], grid, SpectralGP(length_scale=60 * u.pc, box_spacing=20 * u.pc))
    box, points = model.prior.box, torch.from_numpy(grid.cell_points()).reshape(-1, 3)
    assert len(model.prior.at(points).residual_variance) == grid.n_rays * grid.n_cells
    finer = sky.grid((24, 12, 16)) if kind == "spherical" else sky.healpix_grid(8, 16)
    assert len(model.prior.interpolation(torch.from_numpy(finer.cell_points()).reshape(-1, 3)))
    assert all(length >= 200 for length in box.lengths)


def test_a_healpix_patch_and_a_patch_of_sky_have_boxes_too(region):
    for grid in (region.healpix_grid(8, 6), region.grid((3, 3, 6))):
        model = gpdust.DustModel([], grid, SpectralGP(length_scale=60 * u.pc))
        density = model.density(
            torch.zeros(model.prior.latent_size, dtype=torch.float64), model.prior.at(model.points(slice(None)))
        )
        assert density.shape == grid.shape
        assert f"{' × '.join(map(str, model.prior.box.shape))} nodes" in model.notes[0]


def test_points_beyond_the_box_are_an_error(region):
    model = gpdust.DustModel([], region.grid((2, 2, 6)), SpectralGP(length_scale=60 * u.pc))
    with pytest.raises(GridError, match="1 of 1 points lie outside the box"):
        model.prior.at(torch.tensor([[1e4, 0.0, 0.0]], dtype=torch.float64))
    with pytest.raises(ValueError, match="no box yet"):
        SpectralGP().at(POINTS)


@pytest.mark.parametrize("name", ["rbf", "matern12", "matern32", "matern52", "spectrum"])
def test_the_misplaced_variance_falls_with_the_spacing(name):
    prior = SpectralGP(name, 30 * u.pc)
    shares = [
        prior.with_box(PeriodicBox((0.0,) * 3, (600.0,) * 3, (n,) * 3)).misplaced_variance() for n in (16, 32, 64)
    ]
    assert 1 > shares[0] > shares[1] > shares[2] > 0
    assert shares[1] < 0.75 * shares[0] and shares[2] < 0.75 * shares[1]


def test_the_chosen_spacing_misplaces_no_more_than_it_says(region):
    grid = region.grid((12, 6, 12))
    model = gpdust.DustModel([], grid, SpectralGP("matern52", 60 * u.pc))
    assert model.prior.misplaced_variance() <= 0.002 + 1e-4
    assert max(model.prior.box.spacing) <= 0.4 * 60
    asked = gpdust.DustModel([], grid, SpectralGP("matern52", 60 * u.pc, box_spacing=9 * u.pc))
    assert_allclose(asked.prior.box.spacing, 9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel": "exponential"}, "unknown kernel 'exponential'; there are .*matern32"),
        ({"kernel": ["rbf", "gauss"]}, "unknown kernel 'gauss'"),
        ({"kernel": []}, "unknown kernel"),
        ({"length_scale": -1 * u.pc}, "must be positive, got .*-1"),
        ({"length_scale": [10, 20] * u.pc}, r"one number or three for each of 1 kernel.*\(2,\)"),
        ({"kernel": ["rbf", "rbf"], "amplitude": [0.1, 0.1]}, "for each of 2 kernel"),
        ({"kernel": ["rbf", "rbf"], "length_scale": [10, 20] * u.pc}, "need as many amplitudes"),
        ({"amplitude": 0}, "must be positive"),
        ({"mean_density": 0 * u.mag / u.pc}, "must be positive"),
        ({"box_spacing": 0 * u.pc}, "box_spacing must be positive"),
        ({"learn": ["lengthscale"]}, "no hyperparameter is called 'lengthscale'; there are length_scale_x"),
    ],
    ids=str,
)
def test_an_unusable_prior_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SpectralGP(**options)


# Paths of the hyperparameters


def learned_prior() -> tuple[SpectralGP, torch.Tensor, torch.Tensor, torch.Tensor]:
    """A sum of two kernels on a box, latents, hyperparameters off their start, and places."""
    prior = SpectralGP(["matern32", "rbf"], [40, 25] * u.pc, [0.3, 0.2]).with_box(wide_box(12.0, 120.0))
    generator = torch.Generator().manual_seed(2)
    latent = torch.randn(prior.latent_size, dtype=torch.float64, generator=generator)
    theta = 0.2 * torch.randn(prior.theta_size, dtype=torch.float64, generator=generator)
    return prior, latent, theta, torch.from_numpy(np.random.default_rng(3).uniform(-40, 40, (50, 3)))


def test_latents_that_grow_make_the_derivative_of_the_field():
    """B p = ∂φ/∂θ by autograd."""
    prior, latent, theta, places = learned_prior()
    growth, constant = prior.theta_growth(theta, 1e-5)
    found = prior.at(places, theta).apply(growth * latent + constant)
    expected = torch.autograd.functional.jacobian(lambda t: prior.at(places, t).log_density(latent), theta).mT
    assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


def test_the_field_can_be_kept_while_hyperparameters_move():
    prior, latent, theta, places = learned_prior()
    step = 0.02 * torch.ones_like(theta)
    moved = prior.same_field(latent, theta, theta + step)
    before = prior.at(places, theta).log_density(latent)
    assert_allclose(prior.at(places, theta + step).log_density(moved), before, atol=1e-8)
    assert float((prior.at(places, theta + step).log_density(latent) - before).abs().max()) > 1e-3
