"""Exercise 4.1: `get_activations`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Alternative, Check, Mistake
from coursekit.checking.door import Handle
from coursekit.checking.phrases import explained
from part_utils.activations import MLP_HOOK

if TYPE_CHECKING:
    pass
from coursekit.exercises.chapter_04.scene import NEEDS, ROWS, SEQ, concerning, make_scene


@exercise(
    id="4.1",
    reference="activations.get_activations",
    also=("flatten_activations",),
    needs=NEEDS,
    difficulty=1,
    importance=5,
    minutes=10,
    points=2,
)
def get_activations(check: Check) -> None:
    for rows, seq in ((ROWS, SEQ), (3, 11), (1, 5), (131, 2)):
        scene = make_scene(check, rows=rows, seq=seq)
        expected = scene.cache[MLP_HOOK]
        pre = scene.cache["blocks.0.mlp.hook_pre"]
        mistakes: dict[str, Alternative] = {
            "the activations *before* the activation function are returned (`hook_pre`, not `hook_post`)": pre,
            "the *output of the MLP* is returned (`hook_out`, after `W_out`), not its neurons": scene.cache[
                "blocks.0.mlp.hook_out"
            ],
            "a ReLU takes the place of the GELU": pre.relu(),
            "the activation function is applied twice": F.gelu(expected),
            "the positions are flattened already: that is the second function's work": expected.flatten(0, 1),
            "the positions are flattened already, and in the wrong order": expected.transpose(0, 1).flatten(
                0, 1
            ),
            "only the last position of every text is returned": expected[:, -1],
            "the first position of every text is left out": expected[:, 1:],
            "the last position of every text is left out": expected[:, :-1],
            "the last text is left out": expected[:-1],
            "the first text is run without the others": expected[:1],
            "the input of the MLP is returned, not its neurons": scene.cache["blocks.0.ln2.hook_out"],
            "what the MLP reads is returned (`hook_resid_mid`), not its neurons": scene.cache[
                "blocks.0.hook_resid_mid"
            ],
            "what leaves the whole block is returned, not the MLP's neurons": scene.cache[
                "blocks.0.hook_out"
            ],
            "each neuron's mean is subtracted": expected - expected.mean((0, 1)),
            "each token's mean over the neurons is subtracted": expected - expected.mean(-1, keepdim=True),
            "each token's activations are brought to unit length": F.normalize(expected, dim=-1),
            **{
                f"only the first {n} texts are run": expected[:n]
                for n in (2, 4, 8, 10, 16, 32, 64, 100, 128)
                if n < rows
            },
            "the predictions (logits) are returned": scene.logits(),
        }
        with explained(
            {
                "KeyError": "The cache holds nothing under this name. The hook is called `blocks.0.mlp.hook_post`, and "
                "`MLP_HOOK` holds the name.",
            }
        ):
            found = check.call(scene.tokens, scene.model)
        if isinstance(found, Handle) and "Cache" in found.type_name:
            raise Mistake(
                "Your function returns the whole cache. Look the activations up in it, by the hook's name."
            )
        if isinstance(found, tuple) and found:
            raise Mistake(
                "Your function returns several things. `run_with_cache` returns the predictions and the cache; return "
                "what the cache holds under the hook's name."
            )
        check.equal(
            found,
            expected,
            "batch seq d_mlp",
            "the neurons after the GELU, at every position",
            # With one text, many mistakes look like an axis that is lost.
            mistakes if rows > 1 else {},
        )
        scene.unharmed()
    for shape in ((5, 3, 7), (2, 11, 13), (1, 5, 3), (1, 1, 7), (3, 5, 1)):
        acts = check.normal(*shape)
        flat = acts.reshape(-1, shape[-1])
        _check_flattened(check, acts, flat)
    # A view of other strides, as a cache may hold.
    acts = check.normal(3, 5, 7).transpose(0, 1)
    _check_flattened(check, acts, acts.reshape(-1, 7))


def _check_flattened(check: Check, acts: Tensor, flat: Tensor) -> None:
    batch, _, d_mlp = acts.shape
    other = acts.transpose(0, 1).reshape(-1, d_mlp)
    with concerning("`flatten_activations`:"):
        check.equal(
            check.call_also("flatten_activations", acts),
            flat,
            "tokens d_mlp",
            "flattened text by text, position by position",
            {
                "the order is wrong: all texts' first positions come first, then all second ones": other,
                "the axes are mixed: rows are cut from the numbers as if `d_mlp` came first": acts.permute(
                    2, 0, 1
                ).reshape(-1, d_mlp),
                "the axes are mixed: `seq` and `d_mlp` have changed places before the flattening": acts.transpose(
                    1, 2
                ).reshape(-1, d_mlp),
                "position and neuron are on one axis": acts.reshape(batch, -1),
                "`seq` and `d_mlp` are joined, in the place of `batch` and `seq`": acts.reshape(batch, -1).mT,
                "the rows are as long as a text (`acts.shape[1]`, which is `seq`), not as the neurons are many": (
                    acts.reshape(-1, acts.shape[1])
                ),
                "everything is on one axis: the neurons have to keep theirs": acts.flatten(),
                "nothing is flattened": acts,
                "the axis of the neurons comes first": flat.mT,
                "only the first text is returned": acts[0],
                "the mean over the positions is taken": acts.mean(1),
                "the mean over the texts is taken": acts.mean(0),
                "equal rows are kept once, and sorted (`unique`)": flat.unique(dim=0),
            },
        )
