"""The README's table of transports is that of the code."""

from docs._extensions import readme_table


def test_the_readme_shows_what_the_records_say():
    assert readme_table.written() == readme_table.table(), (
        "run: python -m docs._extensions.readme_table"
    )
