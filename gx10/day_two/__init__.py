"""What an owner does with a cluster that stands, over ssh alone: look, clean up, take a host out."""
