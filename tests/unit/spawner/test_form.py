"""The spawn page's cards."""

from __future__ import annotations

import re

from nablahub.core.instances import CATALOGUE, InstanceType, Machine
from nablahub_spawner import form

MACHINE = Machine(cpus=4, memory_gib=16)


def test_what_can_be_had_comes_first_and_the_rest_says_why() -> None:
    found = form.cards(CATALOGUE, MACHINE, last=None, default="C4")
    names = [card.instance.name for card in found]
    assert names[:4] == ["Free-CPU", "C3", "C4", "C5"]
    assert [card.instance.name for card in found if card.chosen] == ["C4"]
    assert all(card.reason for card in found[4:])


def test_the_last_choice_is_preselected_while_it_fits() -> None:
    def chosen(last: str) -> list[str]:
        found = form.cards(CATALOGUE, MACHINE, last=last, default="C4")
        return [card.instance.name for card in found if card.chosen]

    assert chosen("C5") == ["C5"]
    assert chosen("A100x8") == ["C4"]
    assert chosen("gone") == ["C4"]


def test_html_is_accessible_and_escaped() -> None:
    types = {"<b>": InstanceType("<b>", 1, 1), "C7": CATALOGUE["C7"]}
    html = form.render(form.cards(types, MACHINE, last=None, default="C4"))
    assert "<b>" not in html
    assert html.count('type="radio"') == 2
    assert html.count("checked autofocus") == 1
    assert html.count("disabled") == 1
    assert 'aria-describedby="instance-C7-why"' in html
    assert 'id="instance-C7-why">Needs 12 CPUs; this machine has 4.' in html


def test_what_can_be_had_is_not_called_what_costs_nothing() -> None:
    types = {name: CATALOGUE[name] for name in ("Free-CPU", "C4")}
    html = form.render(form.cards(types, MACHINE, last=None, default="C4"))
    assert html.count("✓ Available") == 2
    assert re.findall(r"\bFree\b(?!-)", html) == []


def test_what_is_kept_for_others_is_greyed_with_the_reason() -> None:
    types = {"C3": CATALOGUE["C3"], "C4": CATALOGUE["C4"]}
    why = "It is kept for members of the group research."
    found = form.cards(types, None, "C4", "C4", lambda kind: why if kind.name == "C4" else None)
    assert [(card.instance.name, card.reason, card.chosen) for card in found] == [
        ("C3", None, True), ("C4", why, False),
    ]  # fmt: skip
    assert f'id="instance-C4-why">{why}' in form.render(found)


def test_on_a_cluster_no_type_is_too_big_for_the_machine_of_the_hub() -> None:
    found = form.cards(CATALOGUE, None, last="H100x8", default="C4")
    assert not [card for card in found if card.reason]
    assert [card.instance.name for card in found if card.chosen] == ["H100x8"]


def test_a_card_tells_price_and_limits() -> None:
    types = {"Free-CPU": CATALOGUE["Free-CPU"], "C5": CATALOGUE["C5"]}
    html = form.render(form.cards(types, MACHINE, last=None, default="C5"))
    assert "no charge" in html
    assert "at most 6 hours, stopped after 1 hour unused" in html
    assert "0.08 $/h" in html


def test_notice_and_warning_stand_above_the_cards_escaped() -> None:
    html = form.render([], notice="It <ended>.", warning="line 2")
    assert '<p role="status" class="alert alert-info">It &lt;ended&gt;.</p>' in html
    assert '<p role="alert" class="alert alert-warning">line 2</p>' in html


def test_a_machine_that_can_give_nothing_says_what_to_do() -> None:
    html = form.render(form.cards(CATALOGUE, Machine(1, 0.2), last=None, default="C4"))
    assert "instance-types.yaml" in html
    assert "checked" not in html
