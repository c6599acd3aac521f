"""The pins of engine images, as their owner works on them on the control node."""
