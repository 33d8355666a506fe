"""Rules for 50 latents of SmolLM2's residual stream drawn at random, written by hand.

The latents are those that `python -m pretraining.rule_search --model smollm2 --autoencoder smollm2-residual
--latents 50 --rows 2048` draws with seed 0; with `--rules` and this file the same command scores the rules. Each rule
was made by reading where its latent fires in the first half of the text that SmolLM2 wrote, and is scored on the second
half, which was not looked at.
"""

import re

from pretraining.rules.contexts import before, is_break, line_so_far, tail, word, words


def latent_247(context: list[str], label: str) -> bool:
    """No name was found: numpy, greatly, Euclidean, prime have nothing in common.

    No name.
    """
    return False


def latent_381(context: list[str], label: str) -> bool:
    """No name was found: weights, calculus and nuanced have nothing in common.

    No name.
    """
    return False


def latent_423(context: list[str], label: str) -> bool:
    """Fire on emphasis: highlights, emphasizes, focus, and the word after.

    Several words.
    """
    emphasis = ("highlight", "emphasi", "focus")
    after = context[-1] in (" on", " the") and word(context, 1).startswith(emphasis)
    return after or word(context).startswith(emphasis)


def latent_427(context: list[str], label: str) -> bool:
    """Fire on the line break after an `except`, `else` or `elif`.

    Form.
    """
    if not is_break(context[-1]):
        return False
    return re.match(r"\s*(\} *)?(except|else|elif|catch)\b.*[:{]$", line_so_far(context[:-1])) is not None


def latent_681(context: list[str], label: str) -> bool:
    """Fire on contain, in any form, and on containers.

    One word.
    """
    return word(context).startswith("contain")


def latent_726(context: list[str], label: str) -> bool:
    """Fire on options and alternatives.

    One word.
    """
    return word(context).startswith(("option", "alternative"))


def latent_877(context: list[str], label: str) -> bool:
    """Fire on the middle of a long string of letters and digits that means nothing.

    Form.
    """
    if len(context) < 6 or not context[-1].isalnum():
        return False
    glued = all(token.isalnum() and len(token) <= 3 for token in context[-6:])
    return glued and sum(token[0].isupper() for token in context[-6:]) >= 2


def latent_989(context: list[str], label: str) -> bool:
    """Fire on `be` after can, could and cannot.

    One word.
    """
    asked = ("can", "could", "cannot", "also", "only", "still", "'t", "easily", "both", "often")
    return context[-1] == " be" and word(context, 1) in asked


def latent_1073(context: list[str], label: str) -> bool:
    """Fire on a digit inside a number, mostly a 0, in hexadecimal or after a comma.

    Form.
    """
    inside = r"(\d, ?0|[xA-Fa-f\]]\[?0|[A-F]0)$"
    return context[-1] == "0" and re.search(inside, tail(context, 4)) is not None


LANGUAGE = words(
    "languag english spanish speech gramma idi communication conversation semantic linguis lingu olingu vocabular "
    "pronunciation parsing dialect speakers"
)


def latent_1137(context: list[str], label: str) -> bool:
    """Fire on human languages and speech: language, English, grammar, vocabulary, idioms.

    Several words.
    """
    of_computers = word(context, 1) in ("programming", "coding", "level", "compiled", "python")
    return not of_computers and word(context).startswith(LANGUAGE)


def latent_1294(context: list[str], label: str) -> bool:
    """Fire on the closing bracket of a formula or an interval, after a digit or a single letter.

    Form.
    """
    if context[-1].strip()[:1] not in (")", "]", "}", "|"):
        return False
    return re.search(r"\d$|(^|[^a-zA-Z])[a-zA-Z]$|[)\]}|]$", "".join(context[-4:-1])) is not None


def latent_1307(context: list[str], label: str) -> bool:
    """Fire on boundaries and limits, and the word after them: the boundaries of what is possible, pushing the limits.

    Several words.
    """
    last = word(context, 1)
    if context[-1] in (" of", " between"):
        line = context[-1] == " between" and last in ("line", "lines")
        return line or last.startswith(("boundar", "limits"))
    if context[-1] == " what":
        return last == "of" and word(context, 2).startswith(("boundar", "limits"))
    if context[-1] == " the":
        return last in ("push", "pushes", "pushing", "blur", "blurs", "blurring")
    return word(context).startswith(("boundar", "bounds", "borders", "limits", "horizons", "expectations"))


PARTICIPLES = words(
    "used added removed involved needed required allowed expected introduced selected provided adopted returned "
    "reached established presented implied available supported preserved"
)


def latent_1390(context: list[str], label: str) -> bool:
    """Fire on what is done with a thing: used, added, removed, needed, allowed.

    Several words.
    """
    return word(context) in PARTICIPLES


PROTECTION = words(
    "health heal secur protect resilien preserv safe surviv immun prevent medic vaccin defen encrypt mitigat risk "
    "rights save care rescu threat guard"
)


def latent_1667(context: list[str], label: str) -> bool:
    """Fire on protection, safety and health: security, risk, protect, preserve, survive, rights.

    Several words.
    """
    wellbeing = context[-1] == "being" and before(context) == "-"
    return wellbeing or word(context).startswith(PROTECTION)


EVERYDAY = words(
    "walk street everyday ordinary mundane routine coffee working occupation workshop exercise rolling bowling "
    "pedestrian circumstances"
)


def latent_2051(context: list[str], label: str) -> bool:
    """Fire on walking, working and everyday life: walked, street, ordinary, coffee, routine.

    Several words.
    """
    return word(context).startswith(EVERYDAY)


def latent_2076(context: list[str], label: str) -> bool:
    """Fire on points of view: perspective, opinion, perception, subjective.

    Several words.
    """
    views = ("perspective", "opinion", "perception", "subjectiv", "stance", "viewpoint")
    return word(context) in ("view", "views", "thoughts") or word(context).startswith(views)


def latent_2122(context: list[str], label: str) -> bool:
    """Fire on `such`, mostly in such as, and a few words beside it: ensure.

    One word.
    """
    return word(context) in ("such", "ensure", "ensures", "ensuring")


def latent_2150(context: list[str], label: str) -> bool:
    """Fire on a word, or a piece of one, that begins with de or di: det, dev, dem, detect, demon, diagonal.

    Form.
    """
    pieces = ("det", "dev", "dep", "dem", "di", "dis", "dist", "emon", "lemon", "dim", "delim")
    words = ("detect", "diagon", "demon", "devil", "devot", "devast", "diagn", "diwali")
    return word(context) in pieces or word(context).startswith(words)


ESSENCE = words(
    "likely essen approximate inheren necessar ultimate fundamentally potentially seemingly heavily societal "
    "increasingly apparent probably undoubtedly arguably clearly evident obviously intimately"
)


def latent_2167(context: list[str], label: str) -> bool:
    """Fire on what is so in essence, or probably: essential, inherent, ultimately, likely.

    Several words.
    """
    return word(context).startswith(ESSENCE)


def latent_2177(context: list[str], label: str) -> bool:
    """Fire on the name of a programming language after the three backticks that open a block of code.

    Form.
    """
    second = word(context, 2) == "```" and context[-1] in ("asc", "sharp", "ript", "++")
    return second or (word(context, 1) == "```" and context[-1].isalpha())


def latent_2187(context: list[str], label: str) -> bool:
    """Fire on the bracket that closes an index or a type: row[key], List<T>.

    Form.
    """
    if context[-1][:1] not in ("]", ">", "'"):
        return False
    return re.search(r"\w[\[<]['\"]?[A-Za-z_][\w\[, ]*['\"]?[\]>]+$", line_so_far(context)) is not None


def latent_2219(context: list[str], label: str) -> bool:
    """Fire on an empty pair of brackets.

    Form.
    """
    return context[-1] in ("()", "__()")


def latent_2273(context: list[str], label: str) -> bool:
    """Fire on negation: no, never, nothing, neither, minimal.

    Several words.
    """
    negations = ("no", "never", "nothing", "neither", "nor", "none", "minimal", "zero", "fewer")
    return word(context) in negations


def latent_2512(context: list[str], label: str) -> bool:
    """No name was found: it fires on one token in 64, mostly pieces of names and of lists.

    No name.
    """
    return False


def latent_2581(context: list[str], label: str) -> bool:
    """Fire on the first words of an error message.

    Form.
    """
    text = tail(context, 12)
    return re.search(r"(Error|Exception|raise|throw|print).{0,12}[\"'][^\"']*$", text) is not None and (
        re.search("rror|xcept|throw", "".join(context[-40:-1])) is not None
        and context[-1].strip(" \"'(") != ""
    )


def latent_2700(context: list[str], label: str) -> bool:
    """Fire on opposition, and what comes after: challenges the, against, defy, a threat to.

    Several words.
    """
    opposed = ("challeng", "defy", "defies", "against", "question", "rethink", "anti", "blur", "redefin")
    after = (*opposed, "testament", "threat", "impact", "limits", "boundaries")
    small = context[-1] in (" the", " of", " to", " with", " on", " in")
    return word(context).startswith(opposed) or (small and word(context, 1).startswith(after))


def latent_2723(context: list[str], label: str) -> bool:
    """Fire on a cast, in code or in a film.

    One word.
    """
    return word(context) == "cast" or (context[-1] == "AST" and before(context) == "C")


def latent_2807(context: list[str], label: str) -> bool:
    """Fire on the comma before a clause that adds something: a free spirit, a rebel.

    Form.
    """
    if context[-1] != "," or not before(context).strip(" `)").isalnum():
        return False
    sentence = re.split(r"[.!?\n:]|<\|", "".join(context[:-1]))[-1].split()
    return len(sentence) >= 6 and before(context).startswith(" ")


WEB = words(
    "web http internet blog api url html endpoint online php browser server redirect request keywords"
)


def latent_2871(context: list[str], label: str) -> bool:
    """Fire on the internet: web, https, API, blog, online, social media.

    Several words.
    """
    address = word(context) in ("://", "www", "media") or (context[-1] == "com" and before(context) == ".")
    return address or word(context).startswith(WEB)


def latent_2927(context: list[str], label: str) -> bool:
    """Fire on being willing and bold: embrace, adopt, risks, decided to, open to.

    Several words.
    """
    if context[-1] in (" to", " on"):
        return word(context, 1).startswith(("willing", "decid", "chose", "embark", "open"))
    bold = ("willing", "embrac", "bold", "adopt", "defy", "sacrific", "courage")
    return word(context) == "risks" or word(context).startswith(bold)


def latent_3037(context: list[str], label: str) -> bool:
    """Fire on `None`.

    One word.
    """
    return context[-1].strip() == "None"


def latent_3093(context: list[str], label: str) -> bool:
    """Fire on the underscore after the verb in a function's name: get_, create_, find_.

    Form.
    """
    return context[-1] == "_" and word(context, 1) in ("get", "create", "find", "set")


def latent_3134(context: list[str], label: str) -> bool:
    """Fire where somebody speaks: said or added after a quotation, (laughs).

    Several words.
    """
    spoken = ("said", "says", "added", "replied", "asked", "explained", "explains")
    if word(context) in spoken:
        return before(context).endswith(('"', "”"))
    return tail(context, 4).endswith("(laughs")


def latent_3168(context: list[str], label: str) -> bool:
    """Fire on the first dot of e.g. and i.e.

    Form.
    """
    return context[-1] == "." and re.search(r"(^|[\s(\"])[ei]\.$|(^|[\n(])E\.$", tail(context, 3)) is not None


KINDS_OF = words(
    "various several numerous countless multifaceted edged sword reaching ways fields areas purposes disciplines "
    "domains techniques aspects factors applications styles backgrounds"
)


def latent_3279(context: list[str], label: str) -> bool:
    """Fire on many kinds: various, several, numerous, multifaceted, double-edged, a variety of ways, fields, aspects.

    Several words.
    """
    this, last = word(context), word(context, 1)
    kinds = ("variety", "range", "combination", "multitude", "array")
    if this == "of":
        return last in kinds
    many = ("various", "several", "numerous", "countless", "multiple", "diverse")
    things = this.endswith("s") and len(this) > 4
    return this in KINDS_OF or (things and (last in many or (last == "of" and word(context, 2) in kinds)))


def latent_3359(context: list[str], label: str) -> bool:
    """Fire on the audience.

    One word.
    """
    return word(context).startswith("audience")


def latent_3598(context: list[str], label: str) -> bool:
    """Fire on clients and those who advise them: client, consultant, council, counsel, advisor, analysts.

    Several words.
    """
    return word(context).startswith(
        ("client", "consult", "council", "counsel", "ounsel", "advis", "analysts")
    )


GROWTH = words("promot foster encourag cultivat nurtur ecosystem delicate intric creature cosmic")


def latent_3887(context: list[str], label: str) -> bool:
    """Fire on letting something delicate grow: promote, encourage, foster, ecosystems, creatures.

    Several words.
    """
    if word(context) in ("-", "friendly"):
        return "eco" in (word(context, 1), word(context, 2))
    return word(context) == "eco" or word(context).startswith(GROWTH)


def latent_3938(context: list[str], label: str) -> bool:
    """Fire on a path, mostly of a file.

    One word.
    """
    return word(context).startswith("path")


def latent_4237(context: list[str], label: str) -> bool:
    """Fire on the dot after util or utils in the name of a module.

    One word.
    """
    return context[-1] == "." and word(context, 1) in ("util", "utils")


BOOKS = words(
    "book bible biblical chapter author literatur written publish edition novel journal textbook read"
)


def latent_4253(context: list[str], label: str) -> bool:
    """Fire on books: Bible, chapter, author, literature, written, published.

    Several words.
    """
    return word(context).startswith(BOOKS)


def latent_4576(context: list[str], label: str) -> bool:
    """Fire on many and often: numerous, countless, a lot of.

    Several words.
    """
    if word(context) == "of":
        return word(context, 1) in ("many", "lot", "multitude")
    return word(context) in ("many", "often", "numerous", "countless", "multitude")


def latent_4589(context: list[str], label: str) -> bool:
    """Fire on a version of something: variant, edition, copy, equivalent, draft.

    Several words.
    """
    versions = ("version", "versions", "variant", "variants", "edition", "copy", "equivalent", "draft")
    return word(context) in versions or (
        context[-1] == " of" and word(context, 1) in (*versions[:3], "copy", "form")
    )


def latent_4987(context: list[str], label: str) -> bool:
    """No name was found: some articles and possessives that begin an addition, as in Sinbad the seller.

    No name.
    """
    return False


GLAD = words(
    "proud glad happy honored excited thrilled fortunate lucky grateful delighted sorry good forward pleasure "
    "privilege blessing fun honor"
)


def latent_5169(context: list[str], label: str) -> bool:
    """Fire on being glad, proud or sorry to do something: thrilled to be, looking forward to.

    Several words.
    """
    if word(context, 1) in GLAD:
        return context[-1] == " to"
    verbs = ("be", "have", "see", "share", "say", "hear", "mention")
    after = before(context) == " to" and word(context, 2) in GLAD and word(context) in verbs
    return after or word(context) == "privilege"


def latent_5364(context: list[str], label: str) -> bool:
    """Fire on the digits of a designation with capital letters: M-22, M.P.K.-1, SAS-350.

    Form.
    """
    designation = r"\b[A-Z][A-Z.+]*\.?-?\d+$|[A-Z]-\d+[A-Z]*-?\d*$"
    return context[-1].isdigit() and re.search(designation, tail(context)) is not None


def latent_5368(context: list[str], label: str) -> bool:
    """Fire on an equals sign.

    Form.
    """
    return context[-1] == " ="


def latent_5475(context: list[str], label: str) -> bool:
    """Fire on a node of a graph.

    One word.
    """
    return word(context) in ("node", "nodes")


def latent_5713(context: list[str], label: str) -> bool:
    """No name was found: to watch, and pieces of many other words.

    No name.
    """
    return False


DETERMINERS = "the|The|a|an|this|these|those|its|his|her|their|our|my|'s|over|nearly|every|first|last|next"


def latent_5820(context: list[str], label: str) -> bool:
    """Fire on the first two digits of a number after an article or a possessive: the 19th century, its 20 members.

    Form.
    """
    if not context[-1].isdigit():
        return False
    return re.search(rf"(\b|(?='))({DETERMINERS}) +\d{{1,2}}$", tail(context, 5)) is not None
