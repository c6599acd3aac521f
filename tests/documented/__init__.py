"""What the documents tell people to type, typed: on the lab, in the situation that each page describes."""
