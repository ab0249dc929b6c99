"""What homes use and pay at most: what is beyond can be so, and is rather another unit, so it is asked about."""

MOST_KW = 100.0
"""A household that takes more has its readings in another unit than its owner thinks."""

MOST_CONNECTION_KW = 1000.0
"""Of a home, a school or a farm to a low-voltage cable; what is more is rather in W."""

MOST_PRICE, LEAST_PRICE = 5.0, 0.001
"""Of a kWh, in the currencies of most readers; prices of a MWh or in cents are above, those of a Wh below."""
