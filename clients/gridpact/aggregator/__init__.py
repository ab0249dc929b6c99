"""An aggregator of homes on a three-phase feeder: what it plans, what the cable makes of it, what it may count on."""
