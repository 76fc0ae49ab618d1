"""Four paradigms, one task: features, architecture, objective, prompt.

Every method of Part I keeps one contract, that of scikit-learn. A tagger has ``fit(sentences,
tags)`` and ``predict(sentences)``, both on lists of lists of words; a text classifier has
``fit(texts, labels)`` and ``predict(texts)``. Seeds and settings go into the constructor. The data
are those of :mod:`rlhf_lab.paradigms.data`, scored by :mod:`rlhf_lab.paradigms.scoring`.
"""
