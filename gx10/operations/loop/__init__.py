"""How every operation asks, notes, guards and locks, and how their run begins and ends."""
