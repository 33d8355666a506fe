"""Autoencoders that choose differently which latents fire, one architecture in each file."""

from part_utils.variants.gated import GatedAutoEncoder
from part_utils.variants.jumprelu import JumpReLUAutoEncoder
from part_utils.variants.topk import TopKAutoEncoder

__all__ = ["GatedAutoEncoder", "JumpReLUAutoEncoder", "TopKAutoEncoder"]
