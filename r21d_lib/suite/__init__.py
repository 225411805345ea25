"""The suite of notebooks: running them, their recorded results, the ledger, the README's pictures."""
