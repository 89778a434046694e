"""How Sphinx builds these pages: `make docs`, which calls `sphinx-build -W -n`."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent / "_extensions")]

from eventbus.transports import TRANSPORTS  # noqa: E402 (the path comes first)

project = "eventbus"
author = "eventbus contributors"
html_title = "eventbus"
html_theme = "furo"
html_copy_source = False
exclude_patterns = ["_build"]

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "docstrings", "generated_tables"]

# Docstrings quote code with single backticks, as Markdown and most editors show it.
default_role = "literal"
smartquotes = False
highlight_language = "python"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_use_ivar = True
python_maximum_signature_line_length = 80

rst_epilog = f".. |transports| replace:: {', '.join(f'``{name}``' for name in TRANSPORTS)}"

# The standard library is not indexed, so that the build needs no network; the engine is private.
nitpick_ignore_regex = [
    ("py:.*", r"(collections|concurrent|contextlib|datetime|enum|os|threading)(\..*)?"),
    ("py:.*", r"(.*\.)?(Callable|Iterable|Mapping|Sequence|Future|PathLike|timedelta|datetime)"),
    ("py:.*", r"(.*\.)?(H|T|Handler|Middleware|StartFrom|Reason|State|Struct|Settings|_.*)"),
]

# A folder whose pages are all listed by name, or that is still empty, is no fault. Sphinx gives
# this warning no type, so `suppress_warnings` cannot name it.
logging.getLogger("sphinx.sphinx.directives.other").addFilter(
    lambda record: "toctree glob pattern" not in str(record.msg)
)
