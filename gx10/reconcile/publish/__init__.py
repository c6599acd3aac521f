"""What a night tells others: a page, metrics and the owner's hook."""
