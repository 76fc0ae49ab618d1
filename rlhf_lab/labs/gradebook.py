"""Prints the marks in nbgrader's book as JSON: run by the Python of nbgrader's environment.

python gradebook.py gradebook.db
"""

from __future__ import annotations

import json
import sys
from typing import Any


def marks(path: str) -> list[dict[str, Any]]:
    """Every mark in the book at ``path``: student, lab, exercise, score and the most there is."""
    from nbgrader.api import Gradebook  # not in the environment of the package

    rows: list[dict[str, Any]] = []
    with Gradebook(f"sqlite:///{path}") as book:
        for assignment in book.assignments:
            for submission in assignment.submissions:
                for notebook in submission.notebooks:
                    rows += [
                        {
                            "student": submission.student.id,
                            "lab": assignment.name,
                            "exercise": grade.name,
                            "score": grade.score,
                            "max_score": grade.max_score,
                        }
                        for grade in notebook.grades
                    ]
    return rows


if __name__ == "__main__":
    sys.stdout.write(json.dumps(marks(sys.argv[1])))
