"""The V-net, its scaling, its symmetries and its file."""

import json
from itertools import product

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from gpdust.encoder import (
    Trust,
    VNet,
    VNetShape,
    count_parameters,
    load_net,
    net_file,
    packaged,
    save_net,
    scale_density,
    scale_inputs,
    unscale_density,
)
from gpdust.encoder.finite_difference import finite_difference, smooth_difference
from gpdust.encoder.neighbours import HIGHEST_INFORMATION
from gpdust.encoder.substitution import forward_substitution
from gpdust.encoder.symmetry import SYMMETRIES, transform, transform_at_random
from gpdust.encoder.vnet import _LastReLU
from gpdust.errors import EncoderError

TINY = VNetShape(width=4, depth=3)


def tiny(seed: int = 0, **shape) -> VNet:
    torch.manual_seed(seed)
    return VNet(VNetShape(**{"width": 4, "depth": 3, **shape}))


@pytest.fixture(scope="module")
def published() -> VNet:
    with torch.device("meta"):  # shapes without numbers
        return VNet()


def test_stages_are_those_of_the_paper(published):
    seen = {}

    def note(name):
        return lambda _net, _inputs, output: seen.setdefault(name, []).append(tuple(output.shape[1:]))

    for name in ("down", "widen", "up"):
        for stage in getattr(published, name):
            stage.register_forward_hook(note(name))
    published.pool.register_forward_hook(note("pool"))
    with torch.device("meta"):
        assert published(torch.empty(2, 1, 32, 32, 32)).shape == (2, 1, 32, 32, 32)
    # Steps i and iii, ii, iv and vi, v and vii.
    assert seen["down"] == [(128, 32, 32, 32), (256, 16, 16, 16), (512, 8, 8, 8), (1024, 4, 4, 4)]
    assert seen["pool"] == [(128, 16, 16, 16), (256, 8, 8, 8), (512, 4, 4, 4)]
    assert seen["widen"] == [(512, 8, 8, 8), (256, 16, 16, 16), (128, 32, 32, 32)]
    assert seen["up"] == [(512, 8, 8, 8), (256, 16, 16, 16), (128, 32, 32, 32)]


def test_parameters_are_those_of_the_paper(published):
    # Kernels of 3³ = 27 weights, in × out of them; each norm has a factor and an offset a channel.
    down = [
        27 * (1 * 128 + 128 * 128) + 2 * 2 * 128,
        27 * (128 * 256 + 256 * 256) + 2 * 2 * 256,
        27 * (256 * 512 + 512 * 512) + 2 * 2 * 512,
        27 * (512 * 1024 + 1024 * 1024) + 2 * 2 * 1024,
    ]
    widen = [27 * 1024 * 512 + 2 * 512, 27 * 512 * 256 + 2 * 256, 27 * 256 * 128 + 2 * 128]
    up = [
        27 * (1024 * 512 + 512 * 512) + 2 * 2 * 512,
        27 * (512 * 256 + 256 * 256) + 2 * 2 * 256,
        27 * (256 * 128 + 128 * 128) + 2 * 2 * 128,
    ]
    last = 27 * 128 + 1
    assert [count_parameters(stage) for stage in published.down] == down
    assert [count_parameters(stage) for stage in published.widen] == widen
    assert [count_parameters(stage) for stage in published.up] == up
    assert count_parameters(published) == sum(down) + sum(widen) + sum(up) + last == 102_649_345


def test_layers_are_those_of_the_paper(published):
    convolution, norm, relu = published.down[0][:3]
    assert convolution.kernel_size == (3, 3, 3)
    assert convolution.stride == (1, 1, 1)
    assert published.last.padding_mode == convolution.padding_mode == "reflect"
    assert isinstance(norm, torch.nn.BatchNorm3d)
    assert isinstance(relu, torch.nn.ReLU)
    assert len(published.down[0]) == 6
    widen = published.widen[0]
    assert (widen[0].kernel_size, widen[0].stride) == ((3, 3, 3), (2, 2, 2))
    assert [type(layer).__name__ for layer in widen] == ["ConvTranspose3d", "BatchNorm3d", "ReLU"]
    assert published.pool.kernel_size == 2


@pytest.mark.parametrize("cells", [32, 64, 128])
def test_other_cubes_go_through(published, cells):
    with torch.device("meta"):
        assert published(torch.empty(1, 1, cells, cells, cells)).shape[2:] == (cells,) * 3


@pytest.mark.parametrize(("shape", "words"), [((1, 1, 20, 20, 20), "20 × 20 × 20"), ((1, 1, 4, 4, 4), "8, or more")])
def test_odd_cubes_are_refused(shape, words):
    with pytest.raises(EncoderError, match=r"multiples of 4, and 8 or more") as refused:
        VNet(TINY)(torch.zeros(1, 1, 6, 8, 8))
    assert "6 × 8 × 8" in str(refused.value)
    with pytest.raises(EncoderError, match=words.replace("8, or more", "4 × 4 × 4")):
        VNet(VNetShape(width=2, depth=4))(torch.zeros(shape))


def test_inputs_are_checked():
    with pytest.raises(EncoderError, match=r"channels extinction, information, got \(1, 1, 8"):
        tiny(inputs=("extinction", "information"))(torch.zeros(1, 1, 8, 8, 8))
    for wrong in (
        {"norm": "layer"},
        {"inputs": ("dust",)},
        {"inputs": ()},
        {"width": 0},
        {"inputs": ["extinction"] * 2},
        {"inputs": ["difference", "extinction"], "shortcut": "difference"},
        {"inputs": ["information", "extinction"], "shortcut": "extinction"},
        {"inputs": ["information", "extinction"], "shortcut": "substitution"},
    ):
        with pytest.raises(EncoderError):
            VNetShape(**wrong)


@pytest.mark.parametrize(("norm", "shortcut"), [("batch", None), ("group", None), ("batch", "difference")])
def test_gradients_reach_every_weight(norm, shortcut):
    net = tiny(norm=norm, inputs=("extinction", "information", "difference"), shortcut=shortcut)
    net(torch.rand(2, 3, 8, 8, 8)).square().mean().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("value", [0.1, 1e-3])
def test_a_fresh_net_is_alive_whatever_the_seed(value):
    for seed in range(10):
        net = tiny(seed)
        net.start_at(value)
        outputs = net(torch.rand(2, 1, 8, 8, 8)).detach()
        assert (outputs > 0).float().mean() > 0.95
        assert outputs.mean().item() == pytest.approx(value, rel=0.5)
    with pytest.raises(EncoderError, match="empty"):
        net.start_at(0.0)


def test_the_last_gradient_is_that_of_a_relu_but_for_what_it_raises():
    values = torch.tensor([2.0, -2.0, 2.0, -2.0, -2.0], requires_grad=True)
    truth = torch.tensor([3.0, 3.0, 0.0, 0.0, -1.0])
    outputs = _LastReLU.apply(values)
    assert outputs.tolist() == [2, 0, 2, 0, 0]
    (outputs - truth).square().sum().backward()
    assert values.grad.tolist() == [-2, -6, 4, 0, 0]


def test_a_fresh_shortcut_is_open_where_information_is_that_of_exact_extinctions():
    net = tiny(inputs=("information", "substitution"), shortcut="substitution").eval()
    plain = tiny(inputs=("information", "substitution")).eval()
    density, information = torch.rand(8, 8, 8), torch.full((8, 8, 8), HIGHEST_INFORMATION)
    information[:4] = 1000.0
    inputs = torch.stack([torch.log1p(information) / 10, density])[None]
    found, alone = net(inputs)[0, 0], plain(inputs)[0, 0]
    torch.testing.assert_close(found[4:], density[4:], rtol=0.02, atol=0.02)
    torch.testing.assert_close(found[:4], alone[:4], rtol=0.02, atol=0.02)
    assert (alone - density).abs().max() > 0.5


def test_padding_reflects():
    net = tiny()
    inputs = torch.rand(1, 1, 5, 4, 4)
    padded = torch.from_numpy(np.pad(inputs.numpy(), [(0, 0)] * 2 + [(1, 1)] * 3, mode="reflect"))
    expected = torch.nn.functional.conv3d(padded, net.down[0][0].weight)
    torch.testing.assert_close(net.down[0][0](inputs), expected)


def test_memory_is_channels_last():
    weight = tiny().down[1][3].weight
    assert weight.is_contiguous(memory_format=torch.channels_last_3d)
    assert not weight.is_contiguous()


def test_outputs_are_single_precision_under_autocast():
    net, inputs = tiny().eval(), torch.rand(1, 1, 8, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        half = net(inputs)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, net(inputs), rtol=0.05, atol=0.01)


# -- scaling


def test_scaling_is_that_of_the_paper():
    extinction = torch.tensor([0.0, 1.0, 50.0, -2.0]).reshape(1, 1, 1, 4).expand(1, 4, 4, 4)
    channel = scale_inputs(("extinction",), extinction)
    assert channel.shape == (1, 1, 4, 4, 4)
    assert channel[0, 0, 0, 0].tolist() == pytest.approx([0, np.log(2), np.log(51), 0])
    density = torch.tensor([0.0, 0.05, 0.5], dtype=torch.float64)
    assert scale_density(density).tolist() == pytest.approx([0, 10 * np.log(1.05), 10 * np.log(1.5)])
    torch.testing.assert_close(unscale_density(scale_density(density), 6.0), density)


def test_channels_by_name():
    extinction, information = torch.rand(2, 4, 4, 4), 100 * torch.rand(2, 4, 4, 4)
    names = ("information", "difference", "smooth-difference", "extinction", "substitution")
    channels = scale_inputs(names, extinction, information, 60.0)
    torch.testing.assert_close(channels[:, 0], torch.log(1 + information) / 10)
    difference = finite_difference(extinction, 60.0)
    assert (difference < 0).any()
    torch.testing.assert_close(channels[:, 1].sign(), difference.sign())
    torch.testing.assert_close(channels[:, 1].abs(), scale_density(difference.abs()))
    smooth = smooth_difference(extinction, information, 60.0)
    torch.testing.assert_close(channels[:, 2], smooth.sign() * scale_density(smooth.abs()))
    torch.testing.assert_close(channels[:, 3], torch.log(1 + extinction))
    substituted = forward_substitution(extinction, information, 60.0)
    torch.testing.assert_close(channels[:, 4], scale_density(substituted))
    with pytest.raises(EncoderError, match="needs information and trained_length"):
        scale_inputs(("smooth-difference",), extinction)
    with pytest.raises(EncoderError, match="no input 'dust'"):
        scale_inputs(("dust",), extinction)


def test_same_extinctions_in_longer_cells_are_less_density():
    output = scale_density(torch.tensor([0.02, 0.3]))
    density = unscale_density(output, trained_length=6.0, cell_length=60.0)
    torch.testing.assert_close(density * 60, torch.tensor([0.02, 0.3]) * 6)


def test_trust_warns_outside_the_training():
    trust = Trust.of(np.linspace(1, 3, 101), np.linspace(0.01, 0.03, 101))
    assert trust.extinction == pytest.approx((1.02, 2.98))
    assert trust.cell == pytest.approx((0.0102, 0.0298))
    assert Trust.from_dict(json.loads(json.dumps(trust.as_dict()))) == trust
    cubes = np.full((3, 2, 2, 2), 0.1)
    cubes[:, 0, 0, 0] = 2.0
    assert trust.check(cubes) == trust.check(torch.tensor(cubes), np.full_like(cubes, 0.02)) == []
    cubes[1] *= 4
    cubes[2, 1, 1, 1] = np.nan
    (high,) = trust.check(cubes)
    assert "above 2.98 mag in 1 of 3 cubes (as far as 8 mag)" in high
    low, dense = trust.check(cubes[0] / 10, np.full((2, 2, 2), 0.05))
    assert "the largest extinction is below 1.02 mag" in low
    assert "the extinction of a mean cell is above" in dense
    assert trust.check(np.full((2, 2, 2), np.nan)) == ["no cell of the extinction is a number"]


# -- symmetry


def exact_extinction(density: np.ndarray) -> np.ndarray:
    """From the Sun at (0, n/2, n/2) to each cell's centre, piece by piece between the planes of the cells."""
    n = len(density)
    sun = np.array([0, n / 2, n / 2])
    extinction = np.empty_like(density)
    for cell in product(range(n), repeat=3):
        way = np.array(cell) + 0.5 - sun
        planes = [(np.arange(n + 1) - sun[axis]) / way[axis] for axis in range(3) if way[axis]]
        cuts = np.concatenate([[0, 1], *planes])
        cuts = np.sort(cuts[(cuts >= 0) & (cuts <= 1)])
        middles = sun + (cuts[1:] + cuts[:-1])[:, None] / 2 * way
        crossed = tuple(np.clip(middles.astype(int), 0, n - 1).T)
        extinction[cell] = np.linalg.norm(way) * np.diff(cuts) @ density[crossed]
    return extinction


@pytest.fixture(scope="module")
def seen() -> tuple[np.ndarray, np.ndarray]:
    density = np.random.default_rng(1).random((6, 6, 6))
    return density, exact_extinction(density)


def test_symmetries_are_as_many_as_said():
    cube = np.arange(64).reshape(4, 4, 4)
    counts = {name: len({transform(cube, one).tobytes() for one in ones}) for name, ones in SYMMETRIES.items()}
    assert counts == {"none": 1, "mirror": 4, "square": 8}
    assert np.array_equal(transform(cube, SYMMETRIES["square"][0]), cube)


@pytest.mark.parametrize("symmetry", SYMMETRIES["square"])
def test_symmetries_leave_the_sun_alone(seen, symmetry):
    density, extinction = seen
    turned = exact_extinction(transform(density, symmetry))
    np.testing.assert_allclose(turned, transform(extinction, symmetry), rtol=1e-12)


def test_other_symmetries_move_the_sun(seen):
    density, extinction = seen
    assert not np.allclose(exact_extinction(density[::-1]), extinction[::-1], rtol=0.1)
    assert not np.allclose(exact_extinction(density.swapaxes(0, 1)), extinction.swapaxes(0, 1), rtol=0.1)


def test_mirrors_keep_galactic_z():
    cube = np.broadcast_to(np.arange(4.0), (4, 4, 4))  # thins out along z
    for symmetry in SYMMETRIES["mirror"]:
        assert np.ptp(transform(cube, symmetry), axis=(0, 1)).max() == 0


def test_random_symmetries():
    cube = np.random.default_rng(0).random((2, 2, 2))
    rng = np.random.default_rng(3)
    found = [transform_at_random(cube, "mirror", rng).tobytes() for _ in range(100)]
    assert set(found) == {transform(cube, one).tobytes() for one in SYMMETRIES["mirror"]}
    with pytest.raises(EncoderError, match="no symmetry 'cube'; there are none, mirror, square"):
        transform_at_random(cube, "cube", rng)


# -- file


def test_a_net_comes_back(tmp_path):
    net = tiny(inputs=("extinction", "information"))
    net(torch.rand(2, 2, 8, 8, 8))  # moves what batch norm gathers
    save_net(tmp_path / "a.safetensors", net, {"trust": [1, 2]})
    save_net(tmp_path / "b.safetensors", net, {"trust": [1, 2]})
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    again, record = load_net(tmp_path / "a.safetensors")
    assert record["trust"] == [1, 2]
    assert again.shape == net.shape
    assert not again.training
    inputs = torch.rand(1, 2, 8, 8, 8)
    assert torch.equal(again(inputs), net.eval()(inputs))


def test_a_net_in_half_the_size(tmp_path):
    net = tiny(width=8).eval()
    save_net(tmp_path / "full.safetensors", net, {})
    save_net(tmp_path / "half.safetensors", net, {}, half=True)
    sizes = [(tmp_path / f"{name}.safetensors").stat().st_size for name in ("full", "half")]
    assert sizes[1] < 0.6 * sizes[0]
    net.down[0][1].running_var.fill_(1e-9)  # float16 would make it zero
    save_net(tmp_path / "half.safetensors", net, {}, half=True)
    again, _ = load_net(tmp_path / "half.safetensors")
    assert again.down[0][1].running_var.unique().item() == pytest.approx(1e-9)
    assert again.last.weight.dtype == torch.float32
    inputs = torch.rand(1, 1, 8, 8, 8)
    torch.testing.assert_close(again(inputs), net(inputs), rtol=1e-2, atol=1e-3)
    with torch.no_grad():
        net.last.weight.fill_(1e6)
    with pytest.raises(EncoderError, match=r"last.weight are too large for float16"):
        save_net(tmp_path / "half.safetensors", net, {}, half=True)


def test_files_that_are_no_nets(tmp_path, monkeypatch):
    path = tmp_path / "net.safetensors"
    with pytest.raises(EncoderError, match=r"there is no net .* train-vnet"):
        load_net(path)
    path.write_bytes(b"PK not a net")
    with pytest.raises(EncoderError, match="is not a net"):
        load_net(path)
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(EncoderError, match="not a net of gpdust"):
        load_net(path)
    for number, words in ((4, "format 4, not 3: it is newer"), (2, "format 2, not 3: it is too old; train it anew")):
        with monkeypatch.context() as other:
            other.setattr(net_file, "FORMAT", number)
            save_net(path, tiny(), {})
        with pytest.raises(EncoderError, match=words):
            load_net(path)
    record = {"format": 3, "shape": {"width": 4, "depth": 3, "norm": "batch", "inputs": ["extinction"]}}
    save_file({"x": torch.zeros(1)}, path, {net_file.RECORD: json.dumps(record)})
    with pytest.raises(EncoderError, match="is damaged"):
        load_net(path)


def test_packaged_nets_are_listed(tmp_path, monkeypatch):
    monkeypatch.setattr(net_file, "files", lambda package: tmp_path / package)
    with pytest.raises(EncoderError, match="no net 'small' in gpdust; this gpdust comes with none"):
        packaged("small")
    folder = tmp_path / "gpdust.encoder" / "weights"
    folder.mkdir(parents=True)
    save_net(folder / "large.safetensors", tiny(), {"note": 1})
    with pytest.raises(EncoderError, match="there are large"):
        packaged("small")
    net, record = packaged("large")
    assert net.shape == TINY
    assert record["note"] == 1
