"""Wilson's interval against published figures."""

import pytest

from spinml.intervals import wilson_interval


def test_wilson():
    # Wilson 1927 / Newcombe 1998, table I: 81 of 263.
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson_interval(0, 20)[0] == 0.0
    assert wilson_interval(20, 20)[1] == 1.0


@pytest.mark.parametrize(("correct", "total"), [(0, 0), (3, 2), (-1, 2)])
def test_what_is_no_share(correct, total):
    with pytest.raises(ValueError, match="no share"):
        wilson_interval(correct, total)
