"""Random changes of images against loops over images and pixels."""

import contextlib
import math

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as tv

from builders.model import model
from reid.models.embedder import Embedder, resize
from reid.params.registries import AUGMENTATIONS
from reid.params.schema import section_class
from reid.training.augmentation import Augment
from reid.training.image_changes import color_jitter, crop, fill, perspective, rectangles, warp
from reid.training.rand_augment import OPERATIONS

MEAN = np.array([0.485, 0.456, 0.406], np.float32)
COLOUR = torch.from_numpy(MEAN)[:, None, None]  # torchvision's own filling counts twice at the border
STEPS = {
    "flip": {"probability": 0.4},
    "crop": {"probability": 0.4, "margin": 0.25},
    "perspective": {"probability": 0.4, "distortion": 0.5},
    "downscale": {"probability": 0.4, "smallest": 0.3},
    "blur": {"probability": 0.4, "sigma": 1.5},
    "color_jitter": {"brightness": 0.3, "contrast": 0.2, "saturation": 0.4, "hue": 0.05},
    "rand_augment": {"operations": 2, "magnitude": 0.5},
    "random_grey_patch": {"probability": 0.4, "smallest": 0.05, "largest": 0.3},
    "random_patch": {"probability": 0.4, "smallest": 0.05, "largest": 0.3},
    "random_erasing": {"probability": 0.4, "smallest": 0.02, "largest": 0.4},
}


def augment_of(steps, size):
    return Augment(section_class("Augmentation").model_validate(steps), size)


def sure(step, **other):
    """A step that changes every image."""
    return {step: {**STEPS[step], "probability": 1.0, **other}}


def noise(count, height=16, width=8, seed=0, low=0, high=256):
    return torch.from_numpy(np.random.default_rng(seed).integers(low, high, (count, height, width, 3), np.uint8))


def run(images, seed=0, size=None, **steps):
    """The result as an array of B x H x W x 3."""
    generator = torch.Generator().manual_seed(seed)
    made = augment_of(steps, size or images.shape[1:3])(images, generator)
    return made.permute(0, 2, 3, 1).numpy()


def plain(images):
    return images.numpy().astype(np.float32) / np.float32(255)


def near_share(count, total, probability):
    """Within five standard deviations of a binomial distribution."""
    return abs(count - total * probability) <= 5 * math.sqrt(total * probability * (1 - probability))


# ---- nothing, and what holds for all parts


@pytest.fixture(scope="module")
def network():
    return Embedder(model().network, (64, 32)).eval()


@pytest.mark.parametrize("stored", [(64, 32), (70, 40), (32, 16)])
def test_without_any_step_the_input_is_what_prepare_makes(network, stored):
    """The network sees the same image in training, when nothing is changed, as in the result."""
    images = noise(3, *stored)
    made = augment_of({}, (64, 32))(images, torch.Generator())
    torch.testing.assert_close(network.normalise(made), network.prepare(images), atol=1e-5, rtol=0)
    if stored == (64, 32):
        np.testing.assert_array_equal(made.permute(0, 2, 3, 1), plain(images))


@pytest.mark.parametrize("size", [(16, 8), [16, 8], (9, 8), (40, 20)])
def test_resize_is_bilinear_and_antialiased(size):
    x = plain(noise(2)).transpose(0, 3, 1, 2)
    result = resize(torch.from_numpy(x), size).numpy()
    want = np.einsum("ih,jw,bchw->bcij", weights(16, size[0]), weights(8, size[1]), x)
    np.testing.assert_allclose(result, want, atol=1e-6)


def weights(old, new):
    """Of old pixels in new ones: a triangle as wide as the larger pixel, cut off at the border."""
    scale = old / new
    width = max(scale, 1)
    table = np.array(
        [[max(0, 1 - abs((j + 0.5) - (i + 0.5) * scale) / width) for j in range(old)] for i in range(new)]
    )
    return table / table.sum(1, keepdims=True)


def test_result_is_float32_in_channels_last_between_0_and_1():
    made = augment_of(STEPS, (20, 10))(noise(200), torch.Generator().manual_seed(1))
    assert made.shape == (200, 3, 20, 10) and made.dtype == torch.float32
    assert made.is_contiguous(memory_format=torch.channels_last)
    assert made.min() == 0 and made.max() == 1  # noise that is made brighter needs the clamp


@pytest.mark.parametrize("step", [*STEPS, "all"])
def test_input_stays_and_a_generator_state_gives_the_same_bytes(step):
    steps = STEPS if step == "all" else {step: STEPS[step]}
    images = noise(40)
    before = images.clone()
    one, two, other = (run(images, seed, **steps) for seed in (1, 1, 2))
    assert torch.equal(images, before)
    assert one.tobytes() == two.tobytes() != other.tobytes()


@pytest.mark.parametrize("step", [None, *STEPS])
def test_what_is_drawn_depends_on_the_number_of_images_alone(step):
    """Not on their size or content; and a step that is left out draws nothing."""
    augment = augment_of({step: STEPS[step]} if step else {}, (16, 8))
    states = []
    for images in (noise(30), noise(30, seed=1), noise(30, 33, 21), torch.zeros(30, 16, 8, 3, dtype=torch.uint8)):
        generator = torch.Generator().manual_seed(5)
        augment(images, generator)
        states.append(generator.get_state().numpy().tobytes())
    assert len(set(states)) == 1
    assert (states[0] == torch.Generator().manual_seed(5).get_state().numpy().tobytes()) == (step is None)


def test_steps_come_in_their_order():
    """All at once equal one after the other, but for rounding to 8 bits between them; draws are in that order too."""
    images, generator = noise(40, 32, 16), torch.Generator().manual_seed(3)
    want = images
    assert list(AUGMENTATIONS) == list(STEPS)
    smooth = {name: step for name, step in STEPS.items() if name != "rand_augment"}  # it makes much of a rounded bit
    for step in smooth:
        made = augment_of({step: STEPS[step]}, (32, 16))(want, generator).permute(0, 2, 3, 1)
        want = (made * 255).round().to(torch.uint8)
    np.testing.assert_allclose(run(images, 3, **smooth), made, atol=2.5 / 255)


@pytest.mark.parametrize("progress, size", [(0.0, (14, 10)), (0.39, (14, 10)), (0.4, (20, 14)), (1.0, (20, 14))])
def test_smaller_images_come_first_and_are_otherwise_the_same(progress, size):
    """All of them, made smaller with a triangle as a filter after every other change; nothing is drawn for it."""
    at_once, generators = augment_of(STEPS, (20, 14)), [torch.Generator().manual_seed(4) for _ in "ab"]
    small_first = augment_of({**STEPS, "progressive_resizing": {"scale": 0.7, "until": 0.4}}, (20, 14))
    result = small_first(noise(12, 20, 14), generators[0], progress)
    want = at_once(noise(12, 20, 14), generators[1], progress).numpy()
    for axis, (old, new) in enumerate(zip((20, 14), size, strict=True), 2):
        want = np.moveaxis(np.tensordot(weights(old, new), want, (1, axis)), 0, axis)
    assert result.shape == (12, 3, *size) and result.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_allclose(result.numpy(), want, atol=1e-5)
    assert torch.equal(generators[0].get_state(), generators[1].get_state())


@pytest.mark.parametrize("step", [step for step in STEPS if "probability" in STEPS[step]])
@pytest.mark.parametrize("probability", [0, 0.3, 1])
def test_share_of_images_that_change(step, probability):
    images = noise(1000)
    changed = (run(images, 1, **sure(step, probability=probability)) != plain(images)).any(axis=(1, 2, 3)).sum()
    places = 9 * 5 if step == "crop" else math.inf  # one of them is where the image was
    assert near_share(changed, 1000, probability * (1 - 1 / places))


@pytest.mark.parametrize("step", ["crop", "color_jitter", "random_erasing"])
def test_images_of_a_batch_have_their_own_choices(step):
    same = noise(1).expand(40, -1, -1, -1)
    steps = {step: STEPS[step]} if step == "color_jitter" else sure(step)
    assert len({image.tobytes() for image in run(same, **steps)}) > 20


def test_half_precision_around_it_changes_nothing():
    images = noise(20)
    with torch.autocast("cpu", torch.bfloat16):
        inside = run(images, **STEPS)
    assert inside.dtype == np.float32
    np.testing.assert_array_equal(inside, run(images, **STEPS))


def test_batch_of_one_has_nobody_to_take_a_patch_from():
    np.testing.assert_array_equal(run(noise(1), **sure("random_patch")), plain(noise(1)))
    assert run(noise(1), **STEPS).shape == (1, 16, 8, 3)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_makes_the_same_choices():
    smooth = {name: step for name, step in STEPS.items() if name != "rand_augment"}  # whose steps are at a last bit
    images, augment = noise(64), augment_of(smooth, (20, 10))
    one, two = (augment(images.to(where), torch.Generator().manual_seed(1)) for where in ("cpu", "cuda"))
    assert two.is_cuda and two.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(one, two.cpu(), atol=2e-3, rtol=0)  # matrix products may be in TF32


# ---- flip and crop


def test_flip_turns_left_and_right():
    images = noise(50)
    before, after = plain(images), run(images, flip={"probability": 0.5})
    turned = [(new == old[:, ::-1]).all() for old, new in zip(before, after, strict=True)]
    kept = [(new == old).all() for old, new in zip(before, after, strict=True)]
    assert [not one for one in turned] == kept and 0 < sum(turned) < 50


def windows(image, rows, columns):
    """Every window of the padded image, by its place."""
    height, width, _ = image.shape
    sides = ((rows, rows), (columns, columns))
    padded = np.stack([np.pad(image[..., k], sides, constant_values=(124, 116, 104)[k]) for k in range(3)], -1)
    return {
        (top, left): padded[top : top + height, left : left + width]
        for top in range(2 * rows + 1)
        for left in range(2 * columns + 1)
    }


@pytest.mark.parametrize("margin", [(4, 2), (1, 0), (0, 3), (0, 0)])
def test_crop_equals_padding_and_slicing(margin):
    rng = np.random.default_rng(0)
    images = noise(60, 11, 7)
    top, left = (torch.from_numpy(rng.integers(0, 2 * n + 1, 60)) for n in margin)
    result = crop(images, top, left, margin).numpy()
    for image, y, x, new in zip(images.numpy(), top.tolist(), left.tolist(), result, strict=True):
        np.testing.assert_array_equal(new, windows(image, *margin)[y, x])


def test_crop_takes_every_place_equally_often():
    """A quarter of 16 x 8 is a margin of 4 x 2: 9 x 5 places."""
    images = noise(1500)
    result = np.rint(run(images, **sure("crop")) * 255).astype(np.uint8)
    counts = dict.fromkeys(windows(images[0].numpy(), 4, 2), 0)
    for image, new in zip(images.numpy(), result, strict=True):
        places = {window.tobytes(): place for place, window in windows(image, 4, 2).items()}
        counts[places[new.tobytes()]] += 1
    assert len(counts) == 45 and all(near_share(count, 1500, 1 / 45) for count in counts.values())


# ---- perspective


def test_warp_equals_torchvision():
    """Which counts corners by pixels, and takes lists of whole numbers; here the image's edges are its corners."""
    x = torch.from_numpy(plain(noise(6, 21, 13))).permute(0, 3, 1, 2)
    corners = torch.tensor([[0.0, 0], [13, 0], [13, 21], [0, 21]])
    moved = corners + torch.from_numpy(np.random.default_rng(0).uniform(-4, 4, (6, 4, 2))).float()
    result = warp(x, perspective(moved, (21, 13)))
    for image, new, places in zip(x, result, moved.tolist(), strict=True):
        want = tv.perspective(image - COLOUR, corners.tolist(), places) + COLOUR
        torch.testing.assert_close(new, want, atol=2e-4, rtol=0)


def test_perspective_of_no_move_is_the_image():
    x = torch.from_numpy(plain(noise(3, 9, 8))).permute(0, 3, 1, 2)
    corners = torch.tensor([[[0.0, 0], [8, 0], [8, 9], [0, 9]]]).expand(3, -1, -1)
    torch.testing.assert_close(warp(x, perspective(corners, (9, 8))), x, atol=1e-5, rtol=0)


@pytest.mark.parametrize("distortion", [0.3, 0.9])
def test_perspective_moves_corners_inwards_by_even_shares_of_half_the_size(distortion):
    """A white image over the mean colour: its area is that of the new corners, which is even in each move."""
    images = torch.full((400, 40, 20, 3), 255, dtype=torch.uint8)
    result = run(images, **sure("perspective", distortion=distortion))
    white = (result - MEAN) / (1 - MEAN)
    areas = white[..., 0].mean((1, 2))
    # an edge moves by d / 4 of the whole in the mean, at either side: both sides are shorter by d / 2
    np.testing.assert_allclose(areas.mean(), (1 - distortion / 2) ** 2, atol=0.05 * distortion)
    assert (1 - distortion) ** 2 - 0.01 < areas.min() and areas.max() < 1


# ---- rand_augment


def theirs(name, image, strength):
    """An operation of torchvision on one image, by its own largest changes."""
    height, width = image.shape[1:]
    bilinear = {"interpolation": tv.InterpolationMode.BILINEAR}
    if name.startswith(("shear", "translate")):
        kind, x = name.split("_")[0], name.endswith("x")
        if kind == "shear":
            along = math.degrees(math.atan(0.3 * strength))
        else:
            along = -150 / 331 * strength * (width if x else height)  # ours says what is seen there
        still = {"angle": 0.0, "translate": [0, 0], "scale": 1.0, "shear": [0.0, 0.0]}
        return tv.affine(image - COLOUR, **{**still, kind: [along, 0.0] if x else [0.0, along]}, **bilinear) + COLOUR
    if name == "rotate":
        return tv.rotate(image - COLOUR, 30 * strength, **bilinear) + COLOUR
    if name == "posterize":
        bits = 8 - round(4 * abs(strength))
        return tv.posterize((255 * image).round().to(torch.uint8), bits).float() / 255
    if name == "solarize":
        return tv.solarize(image, 1 - abs(strength))
    if name == "autocontrast":
        return tv.autocontrast(image)
    adjust = {"brightness": tv.adjust_brightness, "contrast": tv.adjust_contrast, "saturation": tv.adjust_saturation}
    return {**adjust, "sharpness": tv.adjust_sharpness}[name](image, 1 + 0.9 * strength)


@pytest.mark.parametrize("name", [name for name in OPERATIONS if name != "identity"])
def test_operation_equals_torchvisions(name):
    x = torch.from_numpy(plain(noise(6, 18, 14, low=20, high=230))).permute(0, 3, 1, 2)
    x[0, 1] = 0.4  # one colour the same everywhere
    strength = torch.tensor([1.0, 0.3, 0.6, -0.3, -0.7, -1.0])
    result = OPERATIONS[name](x.clone(), strength).clamp(0, 1)
    tolerance = 4e-4 if name in ("contrast", "saturation") else 1e-4  # its grey has other weights
    for image, new, own in zip(x, result, strength.tolist(), strict=True):
        torch.testing.assert_close(new, theirs(name, image, own), atol=tolerance, rtol=0)
    assert torch.equal(OPERATIONS["identity"](x, strength), x)


def test_rand_augment_draws_its_operations_and_directions_evenly():
    """Images of one gradient, so that each operation is known by its result."""
    ramp = np.linspace(60, 190, 16 * 8).reshape(16, 8, 1) + np.array([0, 10, 25])
    images = torch.from_numpy(np.rint(ramp).astype(np.uint8)).expand(2600, -1, -1, -1)
    result = run(images, rand_augment={"operations": 1, "magnitude": 0.8})
    x = torch.from_numpy(plain(images[:1])).permute(0, 3, 1, 2)
    both = [0.8, -0.8]
    made = {
        (name, sign): operation(x.clone(), torch.tensor([sign])).clamp(0, 1)[0].permute(1, 2, 0).numpy()
        for name, operation in OPERATIONS.items()
        for sign in both
    }
    counts = dict.fromkeys(OPERATIONS, 0)
    signs = 0
    for image in result:
        found = {key for key, want in made.items() if abs(want - image).max() < 1e-5}
        assert len({name for name, _ in found}) == 1
        counts[next(iter(found))[0]] += 1
        signs += len(found) == 1 and next(iter(found))[1] > 0
    assert all(near_share(count, 2600, 1 / 13) for count in counts.values())
    one_way = sum(counts[name] for name in ("identity", "posterize", "solarize", "autocontrast"))
    assert near_share(signs, 2600 - one_way, 0.5)


def test_rand_augment_makes_one_operation_after_another():
    images = noise(300, 16, 8)
    changed = [(run(images, rand_augment={"operations": n, "magnitude": 0.9}) != plain(images)) for n in (1, 3)]
    same = [300 - int(change.any((1, 2, 3)).sum()) for change in changed]
    # posterize and the others change every image of noise, autocontrast not one from 0 to 1
    assert near_share(same[0], 300, 2 / 13) and near_share(same[1], 300, (2 / 13) ** 3)


# ---- color_jitter


def naive_color_jitter(image, brightness, contrast, saturation, hue):
    """One pixel after the other in double precision, H x W x 3; YIQ by its definition."""

    def luma(colour):
        return 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]

    height, width, _ = image.shape
    image = image.astype(float) * brightness
    mean = np.mean([luma(image[y, x]) for y in range(height) for x in range(width)])
    yiq = np.array([[0.299, 0.587, 0.114], 3 * [0.0], 3 * [0.0]])
    red, blue = np.array([1.0, 0, 0]) - yiq[0], np.array([0, 0, 1.0]) - yiq[0]
    yiq[1], yiq[2] = 0.736 * red - 0.268 * blue, 0.478 * red + 0.413 * blue
    result = np.empty_like(image)
    for y in range(height):
        for x in range(width):
            colour = mean + contrast * (image[y, x] - mean)
            grey = luma(colour)
            own, i, q = yiq @ (grey + saturation * (colour - grey))
            turned = (i + 1j * q) * np.exp(2j * math.pi * hue)
            result[y, x] = np.linalg.solve(yiq, [own, turned.real, turned.imag])
    return result


def jittered(x, *factors):
    """``color_jitter`` of B x H x W x 3 arrays."""
    planes = torch.from_numpy(x).permute(0, 3, 1, 2)
    return color_jitter(planes, *map(torch.tensor, factors)).permute(0, 2, 3, 1).numpy()


def test_color_jitter_equals_the_naive_loop():
    """Also where a colour is beyond 0 to 1 in between: only the end is clamped."""
    x = plain(noise(6, 5, 4))
    factors = [
        [1.0, 2, 0, 0.5, 1.7, 1.2],
        [1.0, 0.3, 1, 2, 0.2, 0],
        [1.0, 1, 0.5, 2, 0, 1.6],
        [0.0, 0, 0.2, -0.4, 0.5, 1],
    ]
    result = jittered(x, *factors)
    want = [naive_color_jitter(image, *own) for image, *own in zip(x, *factors, strict=True)]
    np.testing.assert_allclose(result, want, atol=3e-3)
    np.testing.assert_allclose(result[0], x[0], atol=1e-6)
    assert result.max() > 1.2 and result.min() < -0.2


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
@pytest.mark.parametrize("factor", [0.6, 1.0, 1.3])
def test_color_jitter_equals_torchvision(name, factor):
    x = plain(noise(4, low=90, high=160))  # in the middle, where torchvision clamps nothing
    factors = [[factor if key == name else 1.0] * 4 for key in ("brightness", "contrast", "saturation")]
    want = getattr(tv, f"adjust_{name}")(torch.from_numpy(x).permute(0, 3, 1, 2), factor).permute(0, 2, 3, 1)
    np.testing.assert_allclose(jittered(x, *factors, [0.0] * 4), want, atol=3e-4)


def test_greys_have_no_hue():
    grey = np.repeat(plain(noise(5))[..., :1], 3, axis=3)
    result = jittered(grey, [1.0] * 5, [1.0] * 5, [3.0] * 5, [0.1, 0.3, 0.5, 0.7, 0.9])
    np.testing.assert_allclose(result, grey, atol=3e-4)


def measured(name, before, after):
    """The factor by which an image was changed, or the share of the circle."""
    if name == "brightness":
        return after.mean() / before.mean()
    one, two = before @ [0.299, 0.587, 0.114], after @ [0.299, 0.587, 0.114]
    if name == "contrast":
        return two.std() / one.std()
    one, two = before - one[..., None], after - two[..., None]
    if name == "saturation":
        return two.std() / one.std()
    axes = np.array([[0.736, 0.478], [0, 0], [-0.268, 0.413]])
    turn = np.vdot((one @ axes) @ [1, 1j], (two @ axes) @ [1, 1j])
    return 1 + np.angle(turn) / (2 * math.pi)


@pytest.mark.parametrize("name, limit", [("brightness", 0.3), ("contrast", 0.2), ("saturation", 0.4), ("hue", 0.1)])
def test_color_jitter_draws_each_factor_evenly(name, limit):
    images = noise(500, low=100, high=150)  # never clamped
    after = run(images, color_jitter={name: limit})
    factors = np.array([measured(name, *pair) for pair in zip(plain(images), after, strict=True)])
    assert abs(factors - 1).max() < limit + 2e-3 and len(np.unique(factors.round(5))) > 400
    np.testing.assert_allclose(factors.mean(), 1, atol=5 * limit / math.sqrt(3 * 500))
    np.testing.assert_allclose(np.quantile(factors, [0.25, 0.75]), [1 - limit / 2, 1 + limit / 2], atol=0.25 * limit)


# ---- downscale and blur


@pytest.fixture(scope="module")
def downscaled():
    """Images, and what becomes of them over every smaller size."""
    images, made = noise(4, 20, 10), {}
    x = torch.from_numpy(plain(images)).permute(0, 3, 1, 2)
    for height in range(1, 21):
        for width in range(1, 11):
            small = torch.nn.functional.interpolate(x, (height, width), mode="bilinear", antialias=True)
            back = torch.nn.functional.interpolate(small, (20, 10), mode="bilinear")
            made[height, width] = back.permute(0, 2, 3, 1).numpy()
    return images, made


@pytest.mark.parametrize("smallest", [0.3, 0.7])
def test_downscale_is_one_scale_down_and_up(downscaled, smallest):
    images, made = downscaled
    heights = []
    for seed in range(25):
        result = run(images, seed, **sure("downscale", smallest=smallest))
        ((height, width),) = [size for size, back in made.items() if abs(back - result).max() < 1e-5]
        assert abs(height / 20 - width / 10) <= 0.5 / 20 + 0.5 / 10
        heights.append(height)
    assert 20 * smallest - 0.5 <= min(heights) <= 20 * smallest + 3 and max(heights) >= 18


def test_blur_is_one_gaussian_of_any_sigma_up_to_the_largest():
    """A white dot becomes the kernel; its first ratio gives sigma."""
    images = torch.zeros(3, 25, 21, 3, dtype=torch.uint8)
    images[:, 12, 10] = 255
    sigmas = []
    for seed in range(50):
        result = run(images, seed, **sure("blur"))
        sigma = math.sqrt(-0.5 / math.log(result[0, 13, 10, 0] / result[0, 12, 10, 0]))
        radius = math.ceil(3 * sigma - 1e-4)
        place = np.arange(-radius, radius + 1)
        want, bell = np.zeros((25, 21)), np.exp(-(place**2) / (2 * sigma**2))
        want[12 - radius : 13 + radius, 10 - radius : 11 + radius] = np.outer(bell, bell) / bell.sum() ** 2
        want = np.broadcast_to(want[None, :, :, None], result.shape)
        np.testing.assert_allclose(result, want, atol=1e-5)
        sigmas.append(sigma)
    assert 0.1 <= min(sigmas) < 0.3 and 1.3 < max(sigmas) <= 1.5
    assert abs(np.mean(sigmas) - 0.8) < 5 * 1.4 / math.sqrt(12 * 50)


@pytest.mark.parametrize("size", [(8, 20), (20, 8)])
@pytest.mark.parametrize("sigma", [0.02, 30])
def test_blur_of_a_sigma_far_from_the_size_of_the_image(sigma, size):
    images = noise(4, *size)
    result = run(images, **sure("blur", sigma=sigma))
    assert np.isfinite(result).all()
    assert np.allclose(result, plain(images), atol=1e-6) == (sigma < 1)


# ---- rectangles


@pytest.mark.parametrize("size", [(128, 64), (64, 128), (50, 50), (9, 8)])
@pytest.mark.parametrize("limits", [(0.02, 0.4), (0.3, 0.3), (0.95, 0.99), (0.001, 0.01)])
def test_rectangles_fit_and_have_their_area(size, limits):
    height, width = size
    uniform = torch.rand(4, 3000, generator=torch.Generator().manual_seed(1))
    top, bottom, left, right = rectangles(uniform, *limits, size).numpy()
    rows, columns = bottom - top, right - left
    assert (top >= 0).all() and (left >= 0).all() and (bottom <= height).all() and (right <= width).all()
    assert (rows >= 1).all() and (columns >= 1).all()
    want = (limits[0] + (limits[1] - limits[0]) * uniform[0].numpy()) * height * width
    assert (abs(rows * columns - want) <= 0.5 * (rows + columns) + 1).all()  # half a pixel of the longer side
    # a wide rectangle ends at the image's width, a tall one at its height
    least, most = np.maximum(0.3, want / width**2), np.minimum(1 / 0.3, height**2 / want)
    rounding = 1 / rows + 1 / columns
    assert (np.log(rows / columns) >= np.log(least) - rounding).all()
    assert (np.log(rows / columns) <= np.log(most) + rounding).all()


def test_rectangles_have_even_logarithms_of_their_shape_and_even_places():
    uniform = torch.rand(4, 4000, generator=torch.Generator().manual_seed(1))
    top, bottom, left, right = rectangles(uniform, 0.04, 0.05, (400, 400)).numpy()
    rows, columns = bottom - top, right - left
    shape = np.log(rows / columns) / math.log(1 / 0.3)
    assert abs(shape).max() < 1.02 and abs(shape.mean()) < 5 / math.sqrt(3 * 4000)
    np.testing.assert_allclose(np.quantile(shape, [0.25, 0.75]), [-0.5, 0.5], atol=0.06)
    for first, length in ((top, rows), (left, columns)):
        place = first / (400 - length)
        assert place.min() < 0.01 and place.max() == 1
        np.testing.assert_allclose(np.quantile(place, [0.25, 0.5, 0.75]), [0.25, 0.5, 0.75], atol=0.04)
    assert abs(np.corrcoef(top, left)[0, 1]) < 5 / math.sqrt(4000)


def box(mask):
    """Rows and columns of the box around what is true."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_fill_equals_slicing(layout):
    x, filling = (torch.from_numpy(plain(noise(4, 9, 7, seed))).permute(0, 3, 1, 2) for seed in (0, 1))
    bounds = [(0, 9, 0, 7), (2, 5, 3, 4), (0, 0, 0, 0), (8, 9, 6, 7)]
    want = x.clone()
    for i, (top, bottom, left, right) in enumerate(bounds):
        want[i, :, top:bottom, left:right] = filling[i, :, top:bottom, left:right]
    x = x.contiguous(memory_format=layout)
    fill(x, filling, torch.tensor(bounds).T)
    assert torch.equal(x, want)


def test_random_erasing_fills_one_rectangle_with_the_mean_colour():
    images = noise(300, 64, 32)
    result, areas = run(images, **sure("random_erasing")), []
    for old, new in zip(plain(images), result, strict=True):
        mask = (new == MEAN).all(-1)  # no 8-bit colour
        assert mask[box(mask)].all()
        np.testing.assert_array_equal(new[~mask], old[~mask])
        areas.append(mask.mean())
    assert 0.015 < min(areas) < 0.06 and 0.36 < max(areas) < 0.41
    assert abs(np.mean(areas) - 0.21) < 5 * 0.38 / math.sqrt(12 * 300)


def test_random_grey_patch_takes_the_colour_of_one_rectangle():
    images = noise(300, 64, 32)
    result, areas = run(images, **sure("random_grey_patch")), []
    for old, new in zip(plain(images), result, strict=True):
        mask = (new != old).any(-1)
        luma = old @ np.array([0.299, 0.587, 0.114])
        inside = box(mask)
        np.testing.assert_allclose(new[inside], np.repeat(luma[inside][..., None], 3, -1), atol=1e-6)
        mask[inside] = False
        assert not mask.any()
        areas.append(luma[inside].size / luma.size)
    assert 0.035 < min(areas) < 0.1 and 0.25 < max(areas) < 0.33  # rounded to pixels


def test_no_step_waits_for_the_device(monkeypatch):
    """On the device "meta" tensors have no values, and whatever asks for one fails."""
    monkeypatch.setattr(torch, "autocast", lambda *given, **options: contextlib.nullcontext())  # there it has none
    augment = augment_of(STEPS, (20, 10))
    made = augment(torch.zeros(40, 16, 8, 3, dtype=torch.uint8, device="meta"), torch.Generator().manual_seed(1))
    assert made.shape == (40, 3, 20, 10) and made.is_meta


@pytest.mark.parametrize("probability", [0.5, 1])
def test_random_patch_comes_from_the_same_place_of_another_image(probability):
    """Every pixel tells which image it is of and where."""
    number, row, column = np.meshgrid(range(199), range(40), range(20), indexing="ij")
    images = torch.from_numpy(np.stack([number, row, column], -1).astype(np.uint8))
    result = np.rint(run(images, **sure("random_patch", probability=probability)) * 255).astype(int)
    np.testing.assert_array_equal(result[..., 1:], images[..., 1:])
    givers, areas = [], []
    for i, new in enumerate(result[..., 0]):
        mask = new != i
        if mask.any():
            assert mask[box(mask)].all()
            (giver,) = set(new[mask])
            givers.append(giver)
            areas.append(mask.mean())
    assert len(set(givers)) == len(givers) and near_share(len(givers), 199, probability)
    assert 0.035 < min(areas) < 0.1 and 0.25 < max(areas) < 0.33  # rounded to pixels


def test_random_patch_takes_any_other_image():
    images = torch.arange(5, dtype=torch.uint8).view(5, 1, 1, 1).expand(5, 8, 8, 3)
    seen = set()
    for seed in range(100):
        result = np.rint(run(images, seed, **sure("random_patch")) * 255).astype(int)
        seen |= {(i, giver) for i, image in enumerate(result) for giver in np.unique(image)}
    assert seen == {(i, j) for i in range(5) for j in range(5)}
