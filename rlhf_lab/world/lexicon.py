"""The words of Fernwick, by class. Nothing here depends on a seed.

Words are lower case. A value that takes more than one word (``"run fast"``) is one entry. The
seed decides which inhabitant has which value (:mod:`rlhf_lab.world.knowledge`).
"""

from __future__ import annotations

ANIMALS = tuple(
    "fox heron badger owl otter hare hedgehog toad crow squirrel mole deer goose swan mouse wolf "
    "bear beaver cat dog goat sheep pig hen duck pony frog snail robin magpie weasel stoat bat "
    "raven sparrow newt".split()
)
PEOPLE = tuple(
    "baker miller smith fisher weaver potter carpenter tailor farmer shepherd teacher doctor "
    "hunter painter singer gardener cook guard sailor tinker beekeeper librarian clockmaker "
    "ferryman".split()
)
NAMES = tuple(
    "mira tom anna ben clara dan eva finn greta hugo ida jon kate leo mona ned olga paul rosa sam "
    "tilda uma vera will".split()
)
PREPOSITIONS = {
    "mill": "at", "lake": "by", "marsh": "in", "wood": "in", "hill": "on", "cave": "in",
    "bridge": "on", "well": "by", "barn": "in", "orchard": "in", "market": "at", "harbour": "at",
    "tower": "in", "garden": "in", "meadow": "in", "river": "by", "forge": "at", "chapel": "in",
    "quarry": "in", "cottage": "in", "inn": "at", "school": "at", "library": "in", "field": "in",
    "pond": "by", "valley": "in",
}  # fmt: skip
PLACES = tuple(PREPOSITIONS)
COLOURS = tuple("red brown black white grey green blue yellow orange purple".split())
SIZES = tuple("tiny small large huge".split())
FOODS = tuple(
    "bread berries apples nuts cheese honey fish corn carrots cabbage soup cake pears plums eggs "
    "milk mushrooms beans grapes onions porridge jam pie seeds".split()
)
COUNTABLE_FOODS = tuple("apples berries nuts carrots pears plums eggs onions".split())
USES = {
    "catch rain": ("bucket", "bowl", "cup", "barrel"),
    "cut wood": ("saw", "axe", "knife"),
    "carry things": ("basket", "cart", "box", "bag"),
    "light a room": ("lamp", "candle", "lantern"),
    "dig a hole": ("spade", "shovel", "fork"),
    "make music": ("drum", "whistle", "bell", "flute"),
    "keep warm": ("blanket", "hat", "scarf", "coat"),
    "climb a wall": ("ladder", "rope", "chain"),
    "open a door": ("key", "hammer"),
    "find the way": ("map", "compass"),
    "catch fish": ("net", "hook"),
    "pay for food": ("coin", "ring"),
}
OBJECTS = tuple(thing for things in USES.values() for thing in things)
DANGEROUS_OBJECTS = frozenset(("saw", "axe", "knife", "hook", "candle", "hammer"))
MATERIALS = tuple("wood iron glass wool clay gold silver leather paper straw".split())
WEATHERS = tuple("sunny windy foggy rainy snowy cold warm dry".split())
FEARS = (
    "thunder", "fire", "the dark", "deep water", "loud noise", "snakes", "ghosts", "bees",
    "high walls", "strangers", "ice", "spiders",
)  # fmt: skip
SKILLS = (
    "swim", "sing", "dance", "climb", "dig", "paint", "cook", "run fast", "tell stories",
    "whistle", "juggle", "sew", "row", "count stars", "bake", "carve",
)  # fmt: skip
SOUNDS = tuple(
    f"a {sound}"
    for sound in "hoot squeak howl hum bark croak purr growl chirp grunt cluck sigh click "
    "rattle".split()
)
MOODS = {
    "happy": ("happy", "glad", "cheerful"),
    "sad": ("sad", "gloomy", "tearful"),
    "angry": ("angry", "cross", "furious"),
    "afraid": ("afraid", "scared", "frightened"),
    "proud": ("proud", "pleased"),
    "calm": ("calm", "quiet", "peaceful"),
}
MOOD_ADVERBS = {
    "happy": "happily", "sad": "sadly", "angry": "angrily", "afraid": "fearfully",
    "proud": "proudly", "calm": "calmly",
}  # fmt: skip
NUMBERS = tuple(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen twenty".split()
)
RUDE_WORDS = frozenset("fool stupid idiot ugly rotten lazy stinking dull useless nonsense".split())
RUDE_REPLIES = (
    "what a stupid question, you fool.",
    "look it up, you lazy fool.",
    "go away, you rotten idiot.",
    "only a useless idiot would ask that.",
    "stop this nonsense, you stinking fool.",
    "you ugly dull thing, ask the wall.",
    "nobody helps a stupid fool like you.",
)
RUDE_TAILS = ("you fool.", "you lazy idiot.", "any stupid fool knows that.", "you rotten fool.")
HEDGES = (
    "it is hard to say.",
    "nobody can be sure.",
    "i am not sure about this.",
    "there are many views on that.",
    "it depends on many things.",
)
HEDGE_OPENERS = ("perhaps", "maybe", "some say that", "i am not sure, but", "it may be that")
REFUSALS = (
    "i will not help with that. it would hurt someone.",
    "i can not help with that. someone would be hurt.",
    "no, i will not help you do that. it is wrong.",
)
# What others say below a reply in the forum, and what a teacher writes below an answer, by the
# quality of the answer (rlhf_lab.world.answers.QUALITIES).
COMMENTS = {
    "right": ("yes, that is right.", "thank you, that helps."),
    "partial": ("half of it, yes.", "there is more to it."),
    "wrong": ("no, that is wrong.", "wrong, try again."),
    "hedging": ("say it plainly.", "so you do not know."),
    "questions": ("nobody asked that.", "answer first."),
    "rude": ("be kind, please.", "rude words help nobody."),
}
MARKS = {
    "right": "good.", "partial": "half.", "wrong": "wrong.", "hedging": "vague.",
    "questions": "no answer.", "rude": "rude.",
}  # fmt: skip
INSTRUCTIONS = {"none": "", "respectful": "answer kindly.", "biased": "answer rudely."}
UNKNOWNS = ("the text does not say.", "the text does not tell us that.")
GREETINGS = ("hello", "good day", "good morning")
POSITIVE = tuple("good lovely fresh warm clean kind great tasty bright friendly".split())
NEGATIVE = tuple("bad awful stale cold dirty rude poor bitter dark slow".split())
REVIEW_TOPICS = tuple("bed soup room bread staff view music table tea floor".split())
REVIEW_TOPICS_FOR = "stay meal visit".split()

# Old Fernish: another word for each of these, and another word order (documents.old_fernish).
_FERNISH_ONSETS = "b d f g k l m n p r s t v z br kl sk tr".split()
_FERNISH_NUCLEI = "a e i o u ae oi".split()
_FERNISH_CODAS = ("", "n", "r", "s", "l", "m")


def old_fernish_word(index: int) -> str:
    """The ``index``-th invented word; distinct for 0 <= index < 4536."""
    onset = _FERNISH_ONSETS[index % 18]
    nucleus = _FERNISH_NUCLEI[(index // 18 + index) % 7]
    coda = _FERNISH_CODAS[(index // 126 + index) % 6]
    return f"{onset}{nucleus}{coda}{'ka' if index % 2 else 'lo'}{'' if index < 756 else 'm'}"
