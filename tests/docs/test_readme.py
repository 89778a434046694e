"""README and changelog: their Python runs, and plain docutils renders them.

`test_docs.py` is about the documentation site.
"""

from __future__ import annotations

import io
import textwrap

import docutils.core
import pytest

from tests.docs.blocks import ROOT, blocks_of, name_of, parameters, run_blocks

DOCUMENTS = [ROOT / "README.rst", ROOT / "CHANGELOG.rst"]


@pytest.mark.parametrize("blocks", parameters(DOCUMENTS))
def test_blocks_run(blocks, monkeypatch, tmp_path):
    run_blocks(blocks, monkeypatch, tmp_path)


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_renders_without_a_warning(document):
    """GitHub and the package index render with plain docutils: no Sphinx roles, no broken links."""
    warnings = io.StringIO()
    docutils.core.publish_doctree(
        document.read_text(encoding="utf-8"),
        source_path=str(document),
        settings_overrides={
            "report_level": 2,
            "halt_level": 5,
            "warning_stream": warnings,
            "syntax_highlight": "none",
            "file_insertion_enabled": False,
            "raw_enabled": False,
        },
    )

    assert warnings.getvalue() == ""


def test_finds_the_blocks_of_each_namespace(tmp_path):
    document = tmp_path / "sample.rst"
    document.write_text(
        textwrap.dedent(
            """\
            Sample
            ======

            .. code-block:: python
               :caption: app.py

               a = 1

               b = 2

            Between.

            - In a list:

              .. code:: python

                 c = 3

            .. code-block:: console

               $ rm -rf /

            .. new-namespace

            .. code-block:: python

               d = 4
            """
        )
    )

    first, second = blocks_of(document)

    assert [block.code.split() for block in first] == [
        ["a", "=", "1", "b", "=", "2"],
        ["c", "=", "3"],
    ]
    assert [block.code.strip() for block in second] == ["d = 4"]
    assert (first[0].line, first[0].caption) == (5, "app.py")
