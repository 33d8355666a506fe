"""Autoencoders that choose differently which latents fire, one architecture in each file."""

from part_utils.variants.batch_topk import BatchTopKAutoEncoder
from part_utils.variants.gated import GatedAutoEncoder
from part_utils.variants.jumprelu import JumpReLUAutoEncoder
from part_utils.variants.matryoshka import MatryoshkaAutoEncoder
from part_utils.variants.topk import TopKAutoEncoder

__all__ = [
    "BatchTopKAutoEncoder",
    "GatedAutoEncoder",
    "JumpReLUAutoEncoder",
    "MatryoshkaAutoEncoder",
    "TopKAutoEncoder",
]
