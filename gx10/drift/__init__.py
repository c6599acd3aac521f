"""Classes of drift, findings and what may be done about them: the words of operations and of the night."""
