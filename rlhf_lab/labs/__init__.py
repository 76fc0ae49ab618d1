"""The labs: one source per lab, its editions, and the grading of what students hand in.

``masters`` reads ``labs/source/*.md``, ``editions`` makes the student's notebook and the answer
key of it, ``handins`` looks whether a file can be graded at all, ``grading`` has nbgrader grade a
class. The tests that exercises call are functions of :mod:`rlhf_lab.checks`. Needs the extra
[labs]; nbgrader is a program of an environment of its own.
"""
