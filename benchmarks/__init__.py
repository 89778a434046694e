"""Speed as ratios: ours against the raw floor, in turns, in one run on one machine."""
