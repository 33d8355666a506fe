"""The quick twin of `AutoEncoder.forward` and its gradient, on a toy model's hidden states."""

import torch
from jaxtyping import Float
from torch import Tensor

from part_utils.tensors import SMALLEST_NORM


class SparseCodingLoss(torch.autograd.Function):
    """The loss of `AutoEncoder.forward` with its gradient written out, which is faster than autograd.

    It differs in two ways. Inputs stand in columns, not in rows: arrays whose last axis is long are quicker to
    work on than arrays whose last axis has 2 or 5 entries. And every input has a weight, so that inputs that
    are equal need to be computed only once; the weights of an instance sum to 1, and with equal weights the
    loss is that of `forward`. Returns the loss, its L1 and its L2 part (means over inputs, sums over
    instances), and the share of inputs on which every latent fired; only the loss has a gradient.
    """

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        W_enc: Float[Tensor, "n_instances n_input_ae n_hidden_ae"],
        W_dec: Float[Tensor, "n_instances n_hidden_ae n_input_ae"],
        b_enc: Float[Tensor, "n_instances n_hidden_ae"],
        b_dec: Float[Tensor, "n_instances n_input_ae"],
        h: Float[Tensor, "n_instances n_input_ae inputs"],
        weight: Float[Tensor, "n_instances 1 inputs"],
        l1_coeff: float,
    ) -> tuple[
        Float[Tensor, ""], Float[Tensor, ""], Float[Tensor, ""], Float[Tensor, "n_instances n_hidden_ae"]
    ]:
        h_centered = h - b_dec.unsqueeze(-1)
        acts = torch.baddbmm(b_enc.unsqueeze(-1), W_enc.mT, h_centered).relu_()
        length = W_dec.norm(dim=-1, keepdim=True).clamp_min(SMALLEST_NORM)
        directions = W_dec / length
        error = torch.baddbmm(h_centered, directions.mT, acts, beta=-1)

        fires = acts.sign() * weight
        weighted_error = error * (weight * (2 / h.shape[1]))
        l1 = torch.dot(acts.flatten(), fires.flatten())
        l2 = torch.dot(error.flatten(), weighted_error.flatten()) / 2

        l1_slope = error.new_full((1, 1, 1), l1_coeff)
        gradient_acts = torch.baddbmm(l1_slope, directions, error, alpha=2 / h.shape[1]).mul_(fires)
        gradient_directions = torch.bmm(acts, weighted_error.mT)
        along = (gradient_directions * directions).sum(dim=-1, keepdim=True)
        gradient_b_enc = gradient_acts.sum(dim=-1)
        gradient_b_dec = weighted_error.sum(dim=-1) - (W_enc @ gradient_b_enc.unsqueeze(-1)).squeeze(-1)
        ctx.save_for_backward(
            torch.bmm(h_centered, gradient_acts.mT),
            (gradient_directions - along * directions) / length,
            gradient_b_enc,
            gradient_b_dec,
        )
        frac_active = fires.sum(dim=-1)
        ctx.mark_non_differentiable(l1, l2, frac_active)
        return torch.add(l2, l1, alpha=l1_coeff), l1, l2, frac_active

    @staticmethod
    def backward(ctx, gradient_loss, *_):  # type: ignore[no-untyped-def]
        return *(gradient_loss * gradient for gradient in ctx.saved_tensors), None, None, None
