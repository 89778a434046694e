"""The how-to's files, as a project of its own: its tests pass there."""

from __future__ import annotations

import pytest

from eventbus import EventBus
from eventbus.testing import record
from tests.docs.blocks import ROOT, blocks_of

pytest_plugins = ["pytester"]

PAGE = ROOT / "docs" / "howto" / "testing.rst"


def test_the_tests_on_the_page_pass(pytester, monkeypatch):
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    files = {block.caption: block.code for blocks in blocks_of(PAGE) for block in blocks}
    for name, code in files.items():
        if name is not None:
            (pytester.path / name).write_text(code, encoding="utf-8")

    result = pytester.runpytest_subprocess(
        "-p", "eventbus.pytest_plugin", "-W", "error", timeout=60
    )

    result.assert_outcomes(passed=4)
    assert not (pytester.path / "shop.db").exists()


def test_the_message_on_the_page_is_the_real_one():
    ((shown,),) = blocks_of(PAGE, ("text",))
    bus = EventBus("sqlite:////srv/shop/shop.db", group="shop", environ={})
    with record(bus, forward=False) as published:
        bus.publish("order.paid", {"id": 7, "total": 30}, key="7")

    with pytest.raises(AssertionError) as caught:
        published.assert_published("order.paid", payload={"id": 8, "total": 30})
    assert shown.code.strip() == str(caught.value)


@pytest.mark.parametrize("name", ["bus", "recorded"])
def test_the_page_tells_of_each_fixture(name):
    assert f"\n``{name}``\n" in PAGE.read_text(encoding="utf-8")
