"""The pictures of a check's card: what was expected and what came out, side by side."""

import base64
import io
import re

import numpy as np
import pytest
import torch
from PIL import Image

from coursekit import get_exercise, run_check
from coursekit.checking.claims import Check, Mistake, drawn
from coursekit.checking.door import DirectLearner
from coursekit.checking.pictures import highlighted, side_by_side
from coursekit.checking.results import CheckResult
from coursekit.checking.running import cell_names


def pixels(picture):
    found = re.findall(r"base64,([^\"]+)", picture)
    return [np.array(Image.open(io.BytesIO(base64.b64decode(data)))) for data in found]


def captions(picture):
    return re.findall(r"<figcaption[^>]*>([^<]*)<", picture)


def test_a_heat_map_shows_numbers_and_where_they_differ():
    expected = torch.tensor([[1.0, -2.0, 0.0], [0.5, 0.0, 1.0]])
    actual = expected.clone()
    actual[1, 2] = -1.0
    picture = side_by_side(actual, expected, "batch features")
    assert captions(picture) == ["expected (batch × features)", "yours", "where they differ"]
    right, yours, differ = pixels(picture)
    assert right.shape == yours.shape == differ.shape == (2, 3, 4)
    assert right[0, :, 3].tolist() == [128, 255, 0]
    assert right[0, 0, :3].tolist() == [230, 159, 0]
    assert right[0, 1, :3].tolist() == [0, 114, 178]
    assert yours[1, 2, :3].tolist() == [0, 114, 178]
    assert (differ[..., 3] > 0).nonzero()[0].tolist() == [1]
    assert 'alt="yours"' in picture


def test_of_several_slices_the_worst_is_drawn():
    expected = torch.zeros(2, 3, 4, 5)
    actual = expected.clone()
    actual[1, 2, 3, 0] = 7.0
    picture = side_by_side(actual, expected, "steps instances rows columns")
    assert captions(picture)[0] == "expected (steps 1, instances 2, rows × columns)"
    assert pixels(picture)[2][3, 0, 3] == 255


def test_a_shape_that_is_wrong_is_seen():
    picture = side_by_side(torch.ones(5, 7), torch.ones(3, 7, 5), "a b c")
    assert [image.shape[:2] for image in pixels(picture)] == [(7, 5), (5, 7)]
    assert captions(picture) == ["expected (b × c)", "yours"]


def test_vectors_in_the_plane_are_arrows_and_one_axis_is_bars():
    picture = side_by_side(torch.randn(5, 2), torch.randn(5, 2), "features hidden")
    assert picture.count("<svg") == 2
    assert picture.count("<path") == 10
    # Where only one of them is a list of vectors in the plane, both are heat maps.
    assert len(pixels(side_by_side(torch.randn(5, 2), torch.randn(2, 5), ""))) == 2
    picture = side_by_side(torch.rand(9) - 0.5, torch.rand(9), "bins")
    assert picture.count("<rect") == 18


@pytest.mark.parametrize(
    ("actual", "expected"),
    [
        (torch.tensor(1.0), torch.tensor(2.0)),
        (torch.tensor(1.0), torch.ones(3)),
        (torch.ones(0, 3), torch.ones(2, 3)),
    ],
)
def test_what_cannot_be_drawn(actual, expected):
    assert side_by_side(actual, expected) == ""


@pytest.mark.parametrize("shape", [(7,), (3, 5), (5, 2), (2, 3, 5), (200, 300)])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e30, 0.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.int64])
def test_any_numbers_can_be_drawn_and_stay_small(shape, value, dtype):
    expected = torch.linspace(-1, 1, torch.Size(shape).numel()).reshape(shape)
    actual = (
        torch.full(shape, value).nan_to_num(7.0).clamp(-6e4, 6e4).to(dtype)
        if dtype != torch.float32
        else (torch.full(shape, value))
    )
    picture = side_by_side(actual, expected, "")
    assert 0 < len(picture) < 40_000
    assert "nan" not in picture
    assert side_by_side(actual, expected, "") == picture


def result_of(number, function):
    exercise = get_exercise(number)
    return run_check(exercise, DirectLearner({exercise.cell_name: function}, cell_names()))


def test_the_card_shows_the_picture_below_the_message():
    result = result_of("0.1", lambda features, W: torch.einsum("bif,hf->bih", features, W[0]))
    card = result.html()
    assert card.index("not yet right") < card.index("the matrix of instance 0") < card.index("<figure")
    assert "<figure" not in result.text()


def test_no_picture_without_a_tensor_and_on_success():
    assert result_of("0.1", lambda features, W: None).picture == ""
    assert result_of("0.1", get_exercise("0.1").load_reference()).picture == ""


def test_shares_and_spread_are_drawn():
    check = Check(DirectLearner({}, {}), "0.1", torch.Generator().manual_seed(0))
    with pytest.raises(Mistake) as caught:
        check.shares(torch.ones(1000, 2, 5), torch.full((2, 5), 0.3), "instances features", "")
    assert len(pixels(caught.value.picture)) == 3
    with pytest.raises(Mistake) as caught:
        check.uniform_on_unit_interval(torch.rand(1000) ** 2, "", "not even")
    assert caught.value.picture.count("<rect") == 20


def test_a_picture_that_fails_does_not_hide_the_mistake(monkeypatch):
    from coursekit.checking import claims as checking

    monkeypatch.setattr(checking, "side_by_side", lambda *_: 1 / 0)
    with pytest.raises(Mistake, match="the mistake"), drawn(torch.ones(2), torch.ones(2), ""):
        raise Mistake("the mistake")


def shared_mask(self, batch_size):
    present = torch.rand(batch_size, 1, 1) < self.feature_probability
    return torch.rand(batch_size, *self.feature_probability.shape) * present


def test_a_sampler_is_shown_beside_a_right_one():
    from part_utils.toy_model import ToyModel

    state = torch.random.get_rng_state()
    result = result_of("1.2", type("Mine", (ToyModel,), {"generate_batch": shared_mask}))
    assert result.status == "failed"
    assert captions(result.picture)[0].startswith("a right one")
    assert all(len(image) == 16 for image in pixels(result.picture))
    assert torch.equal(torch.random.get_rng_state(), state)


def test_resampled_directions_are_shown_before_and_after():
    def keeps_the_bias(autoencoder, frac_active_in_window, neuron_resample_scale):
        with torch.no_grad():
            dead = frac_active_in_window.sum(0) == 0
            new = torch.nn.functional.normalize(torch.randn(*autoencoder.W_dec.shape), dim=-1)
            autoencoder.W_dec[dead] = new[dead]
            autoencoder.W_enc.mT[dead] = new[dead]

    result = result_of("3.2", keeps_the_bias)
    assert result.status == "failed", result.message
    assert captions(result.picture)[0].startswith("directions before")
    assert captions(result.picture)[1:] == ["after", "what has changed"]


def test_a_picture_is_made_only_where_it_is_needed():
    check = Check(DirectLearner({}, {}), "0.1", torch.Generator())
    check.show(lambda: str(1 / 0))
    with check.illustrated():
        check.holds(True, "", "")
    with pytest.raises(Mistake, match="wrong"), check.illustrated():
        check.holds(False, "", "wrong")


def test_highlighted_tokens():
    expected = [[("The", 0.0), (" <b>", 2.0)], [("ALT\n", 1.0)]]
    picture = highlighted([[("The", float("nan"))]], expected)
    assert captions(picture) == ["expected", "yours"]
    assert "230, 159, 0,1.00" in picture
    assert "0.50" in picture
    assert " &lt;b&gt;" in picture
    assert "ALT↵" in picture
    assert highlighted([], []).count("<figure") == 2


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        (
            "the norm of each *row*, not of a *whole matrix*",
            "the norm of each <em>row</em>, not of a <em>whole matrix</em>",
        ),
        ("`a *b* c` and *d*", "<code>a *b* c</code> and <em>d</em>"),
        ("2 * 3 * 4, x*y*z, and a ` alone", "2 * 3 * 4, x*y*z, and a ` alone"),
        ("*<b>*", "*&lt;b&gt;*"),
    ],
)
def test_messages_show_code_and_emphasis(message: str, shown: str) -> None:
    assert f">{shown}</div>" in CheckResult("1.1", "f", "t", "failed", 0, 1, message).html()
