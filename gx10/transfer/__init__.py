"""Large content between the control node and the head, where no host has it any more."""
