import json
from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.cloud.facts import PricePoint
from src.cloud.ledger import cost_between, ledger_lines, ledger_table, price_spans, total_of
from src.cloud.run_state import End, Launch

HOUR = 3600.0


def points(*prices, zone="z"):
    return [
        PricePoint(zone, datetime.fromtimestamp(hour * HOUR, timezone.utc), price, 10.0)
        for hour, price in enumerate(prices)
    ]


def launch(market="spot", disk=0.1):
    return Launch(1, "r", "z", "ecs.t", market, 0.0, disk, {})


def test_every_second_is_paid_at_the_price_of_its_hour():
    paid, listed = cost_between(launch(), points(2.0, 4.0), 0.5 * HOUR, 1.25 * HOUR)
    assert paid == pytest.approx(0.5 * 2.0 + 0.25 * 4.0 + 0.75 * 0.1)
    assert listed == pytest.approx(0.75 * 10.0 + 0.75 * 0.1)


def test_on_demand_is_paid_at_the_list_price():
    paid, listed = cost_between(launch("on_demand"), points(2.0, 4.0), 0.0, HOUR)
    assert paid == listed == pytest.approx(10.1)


def test_price_before_the_first_known_point_is_the_first_one():
    assert price_spans(points(2.0), "z", -HOUR, HOUR) == [(2 * HOUR, 2.0, 10.0)]


def test_zone_without_a_price_is_an_error():
    with pytest.raises(ValueError, match="no price is known of zone q"):
        price_spans(points(2.0), "q", 0.0, 1.0)


@given(
    st.lists(st.floats(0.1, 20), min_size=1, max_size=6),
    st.lists(st.floats(0, 8 * HOUR), min_size=3, max_size=3),
)
def test_cost_adds_up_over_any_cut(prices, moments):
    start, middle, end = sorted(moments)
    known = points(*prices)
    whole = cost_between(launch(), known, start, end)
    parts = [cost_between(launch(), known, *span) for span in ((start, middle), (middle, end))]
    assert whole[0] == pytest.approx(sum(part[0] for part in parts))
    assert sum(span[0] for span in price_spans(known, "z", start, end)) == pytest.approx(
        end - start
    )


def test_table_and_lines_tell_the_share_of_on_demand():
    ends = {1: End(1, "i-1", "done", 0.0, 7200.0, 6.2, 20.0), 2: End(2, "", "no stock")}
    launches = [launch(), Launch(2, "r", "y", "ecs.t", "spot", 0.0, 0.1, {})]
    table = ledger_table(launches, ends)
    assert table.splitlines()[-1] == (
        "6.20 CNY for 2 h 00 min of machines: 31 % of on-demand (20.00 CNY)"
    )
    (line,) = ledger_lines(launches, ends).splitlines()
    assert json.loads(line)["zone"] == "z"
    assert total_of([]).share == 1.0
