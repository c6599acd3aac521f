"""What stands on hosts, as files, units and questions that follow from a description. No pyinfra."""
