"""Prints the marks in nbgrader's book as JSON: run by the Python of nbgrader's environment.

python gradebook.py gradebook.db
"""

import json
import sys

from nbgrader.api import Gradebook

rows = []
with Gradebook(f"sqlite:///{sys.argv[1]}") as book:
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
sys.stdout.write(json.dumps(rows))
