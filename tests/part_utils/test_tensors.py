import pytest
import torch

from part_utils.tensors import decoder_as_matrix, project_features, reconstruct


def test_project_features_is_W_times_x_for_each_element_and_instance() -> None:
    torch.manual_seed(0)
    features, W = torch.randn(7, 3, 5), torch.randn(3, 2, 5)
    hidden = project_features(features, W)
    assert hidden.shape == (7, 3, 2)
    for b in range(7):
        for i in range(3):
            torch.testing.assert_close(hidden[b, i], W[i] @ features[b, i])


def test_reconstruct_adds_up_directions() -> None:
    torch.manual_seed(1)
    acts, W_dec = torch.randn(7, 3, 5), torch.randn(3, 5, 2)
    by_hand = sum(acts[:, :, f, None] * W_dec[:, f] for f in range(5))
    torch.testing.assert_close(reconstruct(acts, W_dec), by_hand)


def test_decoder_as_matrix_has_directions_as_columns_and_agrees_with_reconstruct() -> None:
    torch.manual_seed(2)
    acts, W_dec = torch.randn(1, 3, 5), torch.randn(3, 5, 2)
    for instance in range(3):
        M = decoder_as_matrix(W_dec, instance)
        assert M.shape == (2, 5)
        assert torch.equal(M[:, 4], W_dec[instance, 4])
        torch.testing.assert_close(M @ acts[0, instance], reconstruct(acts, W_dec)[0, instance])


@pytest.mark.parametrize(
    ("features", "W", "error", "message"),
    [
        (torch.randn(7, 5), torch.randn(3, 2, 5), ValueError, r"features must have 3 axes .* got 2"),
        (
            torch.randn(7, 3, 5),
            torch.randn(3, 5, 2),
            ValueError,
            r"axis 'features' has size 2 in W .* but 5 in features",
        ),
        (
            torch.randn(7, 4, 5),
            torch.randn(3, 2, 5),
            ValueError,
            r"axis 'instances' has size 3 in W .* but 4",
        ),
        (
            torch.ones(7, 3, 5, dtype=torch.long),
            torch.randn(3, 2, 5),
            TypeError,
            r"float tensor .* got dtype int64",
        ),
        ([[[1.0]]], torch.randn(3, 2, 5), TypeError, r"features must be a tensor .* got list"),
    ],
)
def test_wrong_input_is_one_clear_sentence(features, W, error, message) -> None:
    with pytest.raises(error, match=message) as caught:
        project_features(features, W)
    assert "\n" not in str(caught.value)
