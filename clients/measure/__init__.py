"""Programs that measure gridpact: benchmarks, gas, faults, soak, costs. Not part of the installed package."""
