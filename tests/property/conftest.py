"""How Hypothesis searches."""

from __future__ import annotations

from steady import search_steadily

search_steadily()
