"""Answers to exercise 5.8: `FeatureDetective`."""

import re
import warnings

import numpy as np
import torch

from part_utils.hypotheses import FeatureDetective
from tests.mutants import equivalent, mutant, variant


@mutant("5.8", says="says yes nearly everywhere")
class AlwaysYes:
    def case_1(self, context, label):
        return True

    case_2 = case_3 = case_4 = case_5 = case_1


@mutant("5.8", says="case 4: precision 0.00, recall 0.00, F1 0.00: the rule returns None")
class ReturnForgotten(FeatureDetective):
    def case_4(self, context, label):
        super().case_4(context, label)


@mutant("5.8", says="the rule is too narrow; needs 0.6")
class TooNarrow(FeatureDetective):
    def case_2(self, context, label):
        return super().case_2(context, label) and len(context) % 6 == 0


@mutant("5.8", says="the rule is too wide; needs 0.6")
class TooWide(FeatureDetective):
    def case_5(self, context, label):
        return super().case_5(context, label) or len(context) % 32 == 0


@mutant("5.8", says="the rule says yes at the wrong tokens")
class OneTokenLate(FeatureDetective):
    def case_3(self, context, label):
        return len(context) > 2 and super().case_3(context[:-1], label)


@mutant("5.8", says="Not attempted: case 3, case 4, case 5")
class TwoCasesOfFive(FeatureDetective):
    def case_3(self, context, label):
        raise NotImplementedError("Exercise 5.8")

    case_4 = case_5 = case_3


@mutant("5.8", says="Not attempted: case 2")
class CaseLeftOut:
    case_1, case_3 = FeatureDetective.case_1, FeatureDetective.case_3
    case_4, case_5 = FeatureDetective.case_4, FeatureDetective.case_5


@mutant("5.8", says="Case 3: the first word of a row has no word before it")
class NoWordBefore(FeatureDetective):
    def case_3(self, context, label):
        return context[-2] in (" is", " not") and context[-1] == " None"


@mutant("5.8", says="Case 5: a rule is a method and takes `self")
class LabelForgotten(FeatureDetective):
    def case_5(self, context):
        return context[-1].strip().isdigit()


@variant("5.8")
class RulesOfItsOwn:
    """Not derived from anything, with what it needs beside."""

    def __init__(self):
        self.reference = FeatureDetective()

    def case_1(self, context, label):
        return self.reference.case_1(context, label)

    def case_2(self, context, label):
        return self.reference.case_2(context, label)

    def case_3(self, context, label):
        return self.reference.case_3(context, label)

    def case_4(self, context, label):
        return self.reference.case_4(context, label)

    def case_5(self, context, label):
        return self.reference.case_5(context, label)


@variant("5.8")
class TruthyAnswers(FeatureDetective):
    def case_2(self, context, label):
        return context[-1] == " else" and re.search(r"(^|\n) *else$", "".join(context))

    def case_5(self, context, label):
        return int(super().case_5(context, label))


@variant("5.8")
class TensorsAndWarnings(FeatureDetective):
    def case_1(self, context, label):
        warnings.warn(label, stacklevel=1)
        return torch.tensor(super().case_1(context, label))


@variant("5.8")
class ChangesItsContext(FeatureDetective):
    def case_4(self, context, label):
        said = super().case_4(context, label)
        context.clear()
        return np.bool_(said)


equivalent(
    "5.8",
    "a rule passes where it scores; the detective asks for no other",
    "context[-1] == ' else' and line_so_far(context).strip() == 'else' -> context[-1] == ' else' or "
    "line_so_far(context).strip() == 'else'",
    "context[-1] == ' else' and line_so_far(context).strip() == 'else' -> context[-1] == ' else'",
    "context[-1] == ' else' and line_so_far(context).strip() == 'else' -> line_so_far(context).strip() == 'else'",
)


@mutant("5.8", says="the rule returns a text, and any text that is not empty counts as yes")
class TextForAnAnswer(FeatureDetective):
    def case_1(self, context, label):
        return "yes" if super().case_1(context, label) else "no"


@mutant("5.8", says="this is a rule for case 5")
class CasesExchanged(FeatureDetective):
    def case_4(self, context, label):
        return super().case_5(context, label)


@mutant("5.8", says="A space in front belongs to a token")
class SpaceForgotten(FeatureDetective):
    def case_2(self, context, label):
        return context[-1] == "else"


@mutant("5.8", says="`context` is a list of tokens")
class ContextForAText(FeatureDetective):
    def case_1(self, context, label):
        return context.endswith("class")
