"""For several processes: `torchrun --nproc-per-node 2 -m part_utils.pretraining train-lm`."""

from part_utils.pretraining.commands import app

app()
