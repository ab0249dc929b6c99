"""Meter readings as people have them: one file or several, a column for each household or a row for each reading.

What each column is, is told by its name (`columns.py`); what was taken for what is said, with the unit and the size of
the values, and what could be two things is asked. From here on a reading is one value of one quantity of one household.
"""

from gridpact.community.columns import UNITS
from gridpact.community.readings.read import read_readings, timed
from gridpact.community.readings.source import HowToRead, local, time_zone

__all__ = ["UNITS", "HowToRead", "local", "read_readings", "time_zone", "timed"]
