"""Pure decisions: which volume a claim gets, and why not the others."""
