"""For plain `sphinx-build -b html . _build/html`: what `jupyter-book build .` makes of _config.yml.

Jupyter Book itself does not read this file.
"""

from pathlib import Path

from jupyter_book.config import get_final_config

_root = Path(__file__).parent
# Adds the folder of the book's extension to sys.path.
_config, _ = get_final_config(
    user_yaml=_root / "_config.yml",
    cli_config={"latex_individualpages": False},
    sourcedir=_root,
)
globals().update(_config, external_toc_path=str(_root / "_toc.yml"))
