"""Short hashes of settings, weights and code: names under which results are kept.

Two results with one name were made by the same code from the same inputs. Comments and docstrings
are no part of the code, and only the modules that a result depends on count, so that correcting a
sentence does not make a night's work void.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


def fingerprint(value: Any) -> str:
    """Twelve hexadecimal digits of a JSON-ready value."""
    text = json.dumps(value, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def tensor_fingerprint(*tensors: Tensor) -> str:
    """Of the bits, shapes and dtypes of tensors."""
    digest = hashlib.sha256()
    for tensor in tensors:
        data = tensor.detach().cpu().contiguous()
        digest.update(f"{data.dtype}{tuple(data.shape)}".encode())
        digest.update(data.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:12]


def model_fingerprint(model: nn.Module) -> str:
    """Of a model's weights and buffers, in order."""
    return tensor_fingerprint(*model.state_dict().values())


def code_fingerprint(*modules: str) -> str:
    """Of modules of this package and all that they import from it, however indirectly."""
    sources: dict[str, str] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name in sources:
            continue
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError(f"no source of module {name}")
        tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
        sources[name] = ast.dump(_without_docstrings(tree))
        waiting += _imported(tree, name.partition(".")[0])
    return fingerprint(sources)


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            node.body = node.body[ast.get_docstring(node) is not None :]
    return tree


def _imported(tree: ast.Module, package: str) -> list[str]:
    """Modules of ``package`` that a module imports, inside functions too."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.append(node.module)
            if node.module.partition(".")[0] == package:
                parts = (f"{node.module}.{alias.name}" for alias in node.names)
                names += [part for part in parts if _is_module(part)]
    return [name for name in names if name.partition(".")[0] == package]


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # its parent is a module, not a package
        return False
