"""A household's node as a service: day after day, from the forecast to the schedule and the payments."""
