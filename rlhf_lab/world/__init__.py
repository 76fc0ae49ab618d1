"""Fernwick: a small world in which truth, help and harm can be computed."""

from rlhf_lab.world.documents import Document
from rlhf_lab.world.judge import Attributes, Judge
from rlhf_lab.world.labelers import Labeler
from rlhf_lab.world.world import World

__all__ = ["Attributes", "Document", "Judge", "Labeler", "World"]
