"""Latents that the check of 8.7 makes up: one for each reason not to claim something, and what a card gets right."""

from dataclasses import dataclass

from part_utils.claim_card import ENOUGH, MARGIN


@dataclass(frozen=True)
class Case:
    """A latent that a check makes up, with what may be claimed about it.

    Attributes:
        claim: what a learner's card gets right here.
        miss: the share of the rule's words on which the latent is silent, in the text that the rule was made from and
            in the held-out one.
        stray: the share of other words on which it fires.
        about: what the rule is about.
        share: the largest share of the direction, where it matters.
        effect: probabilities without and with the direction, and with random ones.
        fires, writes: what may be claimed.
        wrong_fires, wrong_writes: what is overlooked if it is claimed all the same.
        precision, f1, f1_found_on: where these scores have to be.
        below_always: whether the F1 is below that of always saying yes.
        lead: by how much the F1 on held-out text may be the larger one.
    """

    claim: str
    miss: tuple[float, float] = (0.15, 0.2)
    stray: tuple[float, float] = (0.02, 0.02)
    about: str = "last"
    share: float = 0.2
    effect: tuple[float, float, tuple[float, ...]] = (0.02, 0.4, (0.01, 0.05, 0.03))
    fires: bool = True
    writes: bool = True
    wrong_fires: str = ""
    wrong_writes: str = ""
    precision: tuple[float, float] = (0.0, 1.0)
    f1: tuple[float, float] = (ENOUGH + 0.02, 1.0)
    f1_found_on: tuple[float, float] = (0.0, 1.0)
    lead: tuple[float, float] = (-1.0, MARGIN - 0.02)
    below_always: bool = False


ITS_COPY = "one neuron holds more than half of the direction's *squared* length: the latent is its copy"

CASES = (
    Case("a rule that holds on both texts, and a direction that beats chance"),
    Case(
        "a rule that fails on held-out text tells nothing",
        miss=(0.05, 0.85),
        stray=(0.0, 0.15),
        fires=False,
        wrong_fires="the rule is good on the text that it was made from alone; what counts is the held-out text",
        f1=(0.0, ENOUGH - 0.02),
        f1_found_on=(ENOUGH + 0.1, 1.0),
    ),
    Case(
        "a rule that is much better on held-out text was made from the wrong one",
        miss=(0.6, 0.05),
        stray=(0.12, 0.0),
        fires=False,
        wrong_fires=f"the rule is better on held-out text than on the text it was made from, by more than {MARGIN}: it "
        "names what it has seen there",
        lead=(MARGIN + 0.02, 1.0),
    ),
    Case(
        "a rule that is a little better on held-out text has been lucky, and nothing else",
        miss=(0.35, 0.2),
        lead=(0.04, MARGIN - 0.02),
    ),
    Case(
        f"an F1 below {ENOUGH} is not enough, even if it is far above that of always saying yes",
        miss=(0.62, 0.62),
        stray=(0.02, 0.04),
        fires=False,
        wrong_fires=f"the F1 on held-out text is above that of always saying yes, but below {ENOUGH}",
        f1=(0.3, ENOUGH - 0.02),
    ),
    Case(
        "a rule that always says yes tells nothing, however often a latent fires",
        about="always",
        miss=(0.2, 0.2),
        fires=False,
        wrong_fires="the F1 is that of the rule that always says yes",
    ),
    Case(
        "a copy of a neuron supports no claim",
        share=0.6,
        fires=False,
        writes=False,
        wrong_fires=ITS_COPY,
        wrong_writes=ITS_COPY,
    ),
    Case("a latent whose largest neuron holds less than half is no copy", share=0.4),
    Case(
        "one random direction that does as much is enough to refute an effect",
        effect=(0.02, 0.2, (0.01, 0.31, 0.03)),
        writes=False,
        wrong_writes="one of the random directions does more",
    ),
    Case(
        "words that become less likely are not written",
        effect=(0.3, 0.2, (0.01, 0.11, 0.03)),
        writes=False,
        wrong_writes="the words become *less* likely with the direction, though more so with random ones",
    ),
    Case(
        "a direction that does no more than a random one writes nothing",
        effect=(0.02, 0.25, (0.01, 0.25, 0.03)),
        writes=False,
        wrong_writes="one of the random directions does just as much",
    ),
    Case("a small lead over chance counts", effect=(0.2, 0.24, (0.21, 0.18))),
    Case(
        "random directions that make the words much less likely refute nothing",
        effect=(0.4, 0.6, (0.05, 0.1, 0.3)),
    ),
    Case("a small lead counts where the words were rare, too", effect=(0.02, 0.25, (0.17, 0.1))),
    Case(
        "a rule that is worse on held-out text than where it was made, and good enough there, holds",
        miss=(0.02, 0.45),
        stray=(0.0, 0.05),
        lead=(-1.0, -MARGIN - 0.03),
    ),
    Case(
        "it is the F1 on held-out text that has to be enough, not the one where the rule was made",
        miss=(0.62, 0.5),
        stray=(0.03, 0.03),
        f1=(ENOUGH + 0.01, 1.0),
        f1_found_on=(0.0, ENOUGH - 0.01),
    ),
    Case(
        "a precise rule that misses most tells little",
        about="first",
        miss=(0.3, 0.1),
        stray=(0.35, 0.45),
        fires=False,
        wrong_fires=f"the precision is high, but the F1 on held-out text is below {ENOUGH}",
        precision=(0.7, 1.0),
        f1=(0.0, ENOUGH - 0.02),
    ),
    Case(
        "words that become much less likely are not written, though no random direction moves them as far",
        effect=(0.5, 0.1, (0.45, 0.42, 0.47)),
        writes=False,
        wrong_writes="the words become *less* likely with the direction",
    ),
    Case(
        "a rule that is worse than always saying yes tells nothing",
        miss=(0.15, 0.15),
        stray=(0.75, 0.75),
        fires=False,
        wrong_fires="the F1 is below that of the rule that always says yes",
        below_always=True,
    ),
    Case(
        "two of three random directions refute an effect",
        effect=(0.02, 0.2, (0.01, 0.31, 0.5)),
        writes=False,
        wrong_writes="two of the random directions do more",
    ),
    Case(
        "one of five random directions refutes an effect",
        effect=(0.02, 0.2, (0.9, 0.01, 0.03, 0.02, 0.05)),
        writes=False,
        wrong_writes="one of the random directions does more",
    ),
    Case(
        "an effect that all random directions have is none",
        effect=(0.02, 0.2, (0.3, 0.4, 0.5)),
        writes=False,
        wrong_writes="all of the random directions do more",
    ),
    Case("exactly half of the direction is no copy yet", share=0.5),
    Case(f"an F1 of exactly {ENOUGH} is enough", f1=(ENOUGH, ENOUGH), miss=(0.5, 0.5), stray=(0.03, 0.03)),
)
